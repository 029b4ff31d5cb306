"""Recipe files: TOML into a frozen dataclass, with every problem reported together."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from core.errors import InvalidRecipe

Recipe = TypeVar("Recipe")


def read_toml(path: Path, cls: type[Recipe], out_of_range: Callable[[Recipe], list[str]]) -> Recipe:
    """What is left out keeps its default. Raises InvalidRecipe: a file that can't be read, unknown
    names, wrong types, and what `out_of_range` says."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRecipe(f"the recipe {path} cannot be read: {error}") from error
    problems = _unknown(cls, content, "")
    recipe = None
    try:
        recipe = TypeAdapter(cls).validate_python(content)
    except ValidationError as error:
        problems += [
            f"{'.'.join(map(str, p['loc']))} = {p['input']!r}: {p['msg'].lower()}"
            for p in error.errors()
        ]
    else:
        problems += out_of_range(recipe)
    if problems or recipe is None:
        raise InvalidRecipe(f"the recipe {path}: " + "; ".join(problems))
    return recipe


def _unknown(cls: Any, content: dict[str, Any], prefix: str) -> list[str]:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    problems = []
    for name, value in content.items():
        if name not in fields:
            known = ", ".join(fields)
            problems.append(f"{prefix}{name} is unknown; there are {known}")
        elif isinstance(value, dict):
            factory = fields[name].default_factory
            problems += _unknown(factory, value, f"{prefix}{name}.")
    return problems
