"""Recipe files: TOML into a frozen dataclass, with all problems reported together."""

from __future__ import annotations

import dataclasses
import logging
import tomllib
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from core.errors import InvalidRecipe

Recipe = TypeVar("Recipe")

#: For each dataclass of a recipe: an unknown key is an error.
STRICT = ConfigDict(extra="forbid")
Share = Annotated[float, Field(ge=0, le=1)]


log = logging.getLogger(__name__)


def read_toml(
    path: Path,
    cls: type[Recipe],
    renamed: Mapping[str, str] = MappingProxyType({}),
    section: str | None = None,
) -> Recipe:
    """Read a recipe, or one table of it. Keys that the file leaves out keep their defaults.

    `renamed` maps an old "table.key" to the new key. The old one still works, and is logged.
    Raises InvalidRecipe if the file can't be read, or has unknown keys or wrong values.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRecipe(f"the recipe {path} cannot be read: {error}") from error
    _rename(tables, renamed)
    prefix = "" if section is None else f"{section}."
    try:
        return TypeAdapter(cls).validate_python(
            tables if section is None else tables.get(section, {})
        )
    except ValidationError as error:
        problems = "; ".join(prefix + _describe(problem, cls()) for problem in error.errors())
        raise InvalidRecipe(f"the recipe {path}: {problems}") from error


def _rename(tables: dict[str, Any], renamed: Mapping[str, str]) -> None:
    for name, new in renamed.items():
        section, old = name.split(".")
        table = tables.get(section)
        # With both names, the old one is reported as unknown.
        if isinstance(table, dict) and old in table and new not in table:
            table[new] = table.pop(old)
            log.warning("recipe.key_renamed", extra={"old": name, "new": f"{section}.{new}"})


def _describe(problem: ErrorDetails, defaults: Any) -> str:
    name = ".".join(map(str, problem["loc"]))
    if problem["type"] == "unexpected_keyword_argument":
        section = reduce(getattr, map(str, problem["loc"][:-1]), defaults)
        known = ", ".join(field.name for field in dataclasses.fields(section))
        return f"{name} is unknown (known keys: {known})"
    return f"{name} = {problem['input']!r}: {problem['msg'].replace('Input should', 'must')}"
