"""What the README and the pages beside it say is held against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.settings import Settings
from service.api.app import create_app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "bench/RESULTS.md",
    "bench/results/learning.md",
    "bench/results/predict.md",
    "bench/results/review.md",
    "bench/results/robustness.md",
    "bench/starter/README.md",
    "docs/how-to/open-inference-protocol.md",
)


def _named(pattern: str) -> list[tuple[str, str]]:
    """A page, and what it names; each once."""
    return sorted(
        {
            (page, name)
            for page in PAGES
            for name in re.findall(pattern, (ROOT / page).read_text(encoding="utf-8"))
        }
    )


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


def test_results_are_short() -> None:
    assert len((ROOT / "bench/RESULTS.md").read_text(encoding="utf-8").splitlines()) <= 80


def test_each_row_of_the_settings_table_is_a_setting() -> None:
    rows = re.findall(r"^\| `EVERGREEN_(\w+)` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    found = {name.lower(): (default.strip("` "), meaning) for name, default, meaning in rows}
    assert found
    assert found == {
        name: (_shown(field.default), field.description)
        for name, field in Settings.model_fields.items()
        if name in found
    }


def test_each_route_of_the_table_is_in_the_contract(settings: Settings) -> None:
    table = README.split("## HTTP")[1].split("## ")[0]
    named = set(re.findall(r"(/v[12](?:/[\w/{}.-]+)?)", table))
    documented = {
        re.sub(r"\{\w+\}", "{}", path) for path in create_app(settings).openapi()["paths"]
    }
    assert named
    assert {re.sub(r"\{\w+\}", "{}", path) for path in named} <= documented


def test_every_command_of_the_table_exists() -> None:
    from typer.main import get_command

    from cli.__main__ import app

    table = README.split("## Command line")[1].split("## ")[0]
    named = {
        word
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for word in re.findall(r"`([a-z-]+)", row)
    }
    assert named
    assert named <= set(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("page", "path"), _named(r"\]\((?!http)([^)#]+)"))
def test_link_leads_to_a_file(page: str, path: str) -> None:
    assert ((ROOT / page).parent / path).exists()


@pytest.mark.parametrize(
    ("page", "path"), _named(r"`((?:core|service|training|cli|tests|bench)/\w[\w/]*(?:\.\w+|/))`")
)
def test_file_that_a_page_names_exists(page: str, path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    ("page", "module"), _named(r"(?:python -m |`)((?:bench|training)\.[\w.]+)")
)
def test_module_that_a_page_runs_exists(page: str, module: str) -> None:
    place = ROOT / module.replace(".", "/")
    assert place.with_suffix(".py").exists() or (place / "__main__.py").exists()


def _shown(default: object) -> str:
    if default in ("", None, ()):
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)
