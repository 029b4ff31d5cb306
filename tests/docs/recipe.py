"""The reference of the recipe, from the fields of its dataclasses. The meanings are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from tests.docs.tables import Kept, code, meaning, table
from training.recipe import Recipe


def _section(policy: Any, kept: Kept) -> str:
    rows = [
        [code(key), code(_toml(getattr(policy, key))), meaning(key, kept)]
        for key in (field.name for field in dataclasses.fields(policy))
    ]
    return table(["key", "default", "meaning"], rows)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else f"{value:_}"


def _sections(tables: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The tables of a recipe by name, such as `head` and `text.blocks`."""
    for field in dataclasses.fields(tables):
        table = getattr(tables, field.name)
        inner = [getattr(table, key.name) for key in dataclasses.fields(table)]
        if all(map(dataclasses.is_dataclass, inner)):
            yield from _sections(table, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", table


TABLES: Mapping[str, Callable[[Kept], str]] = {
    f"recipe {name}": partial(_section, policy) for name, policy in _sections(Recipe())
}
