"""The site builds without a warning, and every page names only what exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.settings import OF_CLIENTS, PREFIX, Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
# Read by the compose file alone.
COMPOSE_VARIABLES = {"EVERGREEN_CPUS", "EVERGREEN_MEMORY"}
# Accepted for one release; the page of settings names them.
OLD_SETTINGS = {
    "EVERGREEN_PROVIDER",
    "EVERGREEN_SHADOW",
    "EVERGREEN_THREADS",
    "EVERGREEN_TRAINER",
}
# Anything that a browser fetches to show a page.
LOADED = re.compile(
    r"<(?:script|img|iframe|link\b(?=[^>]*\bstylesheet))[^>]*(?:src|href)=[\"']?(?:https?:)?//"
)


def place(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    zensical = Path(sys.executable).with_name("zensical")
    # Without a network: what a build would fetch fails it.
    environ = {
        **os.environ,
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    result = subprocess.run(
        [zensical, "build", "--strict"],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "site"


def test_site_builds_strictly_with_every_page(site: Path) -> None:
    for path in PAGES:
        name = place(path).removesuffix(".md").removesuffix("index").strip("/")
        assert (site / name / "index.html").is_file()


def test_site_loads_nothing_from_other_hosts(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert LOADED.findall(page.read_text(encoding="utf-8")) == [], page


def test_navigation_has_every_page_once() -> None:
    config = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    assert sorted(_pages_in(config["project"]["nav"])) == sorted(map(place, PAGES))


def _pages_in(nav: list[dict[str, Any]]) -> Iterator[str]:
    for entry in nav:
        for target in entry.values():
            if isinstance(target, str):
                yield target
            else:
                yield from _pages_in(target)


@pytest.mark.parametrize("path", PAGES, ids=place)
def test_relative_link_stays_in_the_site_and_exists(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", path.read_text(encoding="utf-8")):
        linked = (path.parent / target).resolve()
        assert linked.is_relative_to(DOCS), target
        assert linked.is_file(), target


@pytest.mark.parametrize("path", PAGES, ids=place)
def test_every_setting_that_a_page_names_exists(path: Path) -> None:
    known = (
        {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
        | COMPOSE_VARIABLES
        | OF_CLIENTS
    )
    if place(path) == "reference/settings.md":
        known |= OLD_SETTINGS
    named = set(re.findall(r"EVERGREEN_[A-Z]+(?:_[A-Z]+)*", path.read_text(encoding="utf-8")))
    assert named <= known


@pytest.mark.parametrize("path", PAGES, ids=place)
def test_every_file_that_a_page_names_exists(path: Path) -> None:
    named = r"`((?:core|service|training|cli|deploy|bench|tests)/[\w/.]+)`"
    for file in re.findall(named, path.read_text(encoding="utf-8")):
        assert (ROOT / file).exists(), file
