"""What the README says is held against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.settings import Settings
from service.api.app import create_app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_settings_table_is_the_settings() -> None:
    rows = re.findall(r"^\| `EVERGREEN_(\w+)` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    found = {name.lower(): (default.strip("` "), meaning) for name, default, meaning in rows}
    assert found == {
        name: (_shown(field.default), field.description)
        for name, field in Settings.model_fields.items()
    }


def test_the_routes_table_is_the_contract(settings: Settings) -> None:
    table = README.split("## HTTP")[1].split("## ")[0]
    named = set(re.findall(r"(/v[12](?:/[\w/{}.]+)?)", table))
    documented = {
        re.sub(r"\{\w+\}", "{}", path) for path in create_app(settings).openapi()["paths"]
    }
    assert {re.sub(r"\{\w+\}", "{}", path) for path in named} == documented


def test_every_command_of_the_table_exists() -> None:
    from typer.main import get_command

    from cli.__main__ import app

    table = README.split("## Command line")[1].split("## ")[0]
    named = {
        word
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for word in re.findall(r"`([a-z]+)", row)
    }
    assert named == set(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_what_it_links_to_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:core|service|training)/\w[\w/]*\.\w+)`", README)))
)
def test_the_files_that_it_names_exist(path: str) -> None:
    assert (ROOT / path).exists()


def _shown(default: object) -> str:
    if default in ("", None, ()):
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)
