"""The reference of settings, from the fields of `Settings`."""

from __future__ import annotations

from core.settings import PREFIX, Settings
from tests.docs.tables import Kept, code
from tests.docs.tables import table as markdown


def table(_kept: Kept) -> str:
    rows = [
        [code(f"{PREFIX}{name.upper()}"), code(_shown(field.default)), str(field.description)]
        for name, field in Settings.model_fields.items()
    ]
    return markdown(["variable", "default", "meaning"], rows)


def _shown(default: object) -> str:
    if default in ("", None, ()):
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)
