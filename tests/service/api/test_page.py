"""The files of the page, as they are served."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

FOLDER = Path(__file__).parents[3] / "service" / "page"
MODULES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.js"))
STYLES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.css"))
MAX_LINES = 250


@pytest.mark.parametrize("name", [*MODULES, *STYLES, "icon.svg"])
def test_file_of_any_folder_is_served_and_cached_until_it_changes(
    client: TestClient, name: str
) -> None:
    first = client.get(f"/page/{name}")
    assert (first.status_code, first.content) == (200, (FOLDER / name).read_bytes())
    assert first.headers["Cache-Control"] == "no-cache"
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    policy = first.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "img-src 'self' blob:" in policy
    again = client.get(f"/page/{name}", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    ["nothing.js", "views", "views/", "..%2fbento.py", "views/..%2fapp.js", "%2fetc%2fpasswd"],
)
def test_path_that_is_no_file_of_the_page_is_not_found(client: TestClient, path: str) -> None:
    assert client.get(f"/page/{path}").status_code == 404


def test_page_loads_every_module_at_once_and_every_style(client: TestClient) -> None:
    page = client.get("/").text
    assert re.findall(r'"modulepreload" href="page/([^"]+)"', page) == MODULES
    assert sorted(re.findall(r'"stylesheet" href="page/([^"]+)"', page)) == STYLES


@pytest.mark.parametrize("name", MODULES)
def test_module_imports_modules_that_exist_and_is_of_a_readable_size(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    imported = re.findall(r'(?:from|import) "([^"]+)"', text)
    folder = posixpath.dirname(name)
    assert {posixpath.normpath(posixpath.join(folder, one)) for one in imported} <= set(MODULES)
    assert len(text.splitlines()) <= MAX_LINES
    assert text.startswith("//")


def test_no_text_becomes_html_and_nothing_is_inline() -> None:
    """Labels come from people. The content policy forbids inline styles, scripts and handlers."""
    forbidden = re.compile(
        r"\.innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\.style\.(?!setProperty|removeProperty)"
    )
    for name in MODULES:
        assert not forbidden.search((FOLDER / name).read_text(encoding="utf-8")), name
    index = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", index)
    for name in STYLES:
        assert "url(" not in (FOLDER / name).read_text(encoding="utf-8"), name
