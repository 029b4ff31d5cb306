"""The reference of the recipe, from the fields of its dataclasses. The meanings are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tests.docs.tables import Kept, code, meaning, table
from training.recipe import Recipe


def _section(name: str, kept: Kept) -> str:
    policy = getattr(Recipe(), name)
    rows = [
        [code(key), code(_toml(getattr(policy, key))), meaning(key, kept)]
        for key in (field.name for field in dataclasses.fields(policy))
    ]
    return table(["key", "default", "meaning"], rows)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else f"{value:_}"


TABLES: Mapping[str, Callable[[Kept], str]] = {
    f"recipe {field.name}": partial(_section, field.name) for field in dataclasses.fields(Recipe)
}
