"""The reference of log events, from the calls of `log` in the code. The meanings are kept."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.docs.tables import Kept, code, meaning
from tests.docs.tables import table as markdown

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "service", "training", "cli")
_LEVELS = {"debug", "info", "warning", "error", "exception"}
# Events whose names are made from a value, by what is fixed of them.
_MADE = {"run.": ("run.finished", "run.failed", "run.cancelled")}


class _Call(NamedTuple):
    event: str
    level: str
    fields: tuple[str, ...]


def table(kept: Kept) -> str:
    rows = []
    calls = list(logged())
    for event in sorted({call.event for call in calls}):
        own = [call for call in calls if call.event == event]
        levels = sorted({call.level for call in own})
        fields = sorted({field for call in own for field in call.fields})
        rows.append(
            [code(event), ", ".join(levels), ", ".join(map(code, fields)), meaning(event, kept)]
        )
    return markdown(["event", "level", "fields", "when"], rows)


def logged() -> Iterator[_Call]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and _is_log(node.func) and node.args:
                    yield from _calls(node)


def _is_log(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr in _LEVELS
        and isinstance(function.value, ast.Name)
        and function.value.id == "log"
    )


def _calls(call: ast.Call) -> Iterator[_Call]:
    assert isinstance(call.func, ast.Attribute)
    level = "error" if call.func.attr == "exception" else call.func.attr
    extra = next((k.value for k in call.keywords if k.arg == "extra"), None)
    keys = extra.keys if isinstance(extra, ast.Dict) else []
    fields = tuple(str(key.value) for key in keys if isinstance(key, ast.Constant))
    message = call.args[0]
    if isinstance(message, ast.Constant):
        yield _Call(str(message.value), level, fields)
    elif isinstance(message, ast.JoinedStr):
        fixed = message.values[0]
        assert isinstance(fixed, ast.Constant)
        for event in _MADE[str(fixed.value)]:
            yield _Call(event, level, fields)
