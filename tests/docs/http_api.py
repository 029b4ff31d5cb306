"""The reference of HTTP, from the OpenAPI document of the app."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from core import errors as core_errors
from core.errors import EvergreenError
from core.settings import Settings
from service.api.access.contract import ROLE
from service.api.app import create_app
from service.api.problems import status_of
from tests.docs.tables import Kept, code, meaning, table


@functools.cache
def _document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in _document()["paths"].items():
        for method, operation in operations.items():
            yield f"{method.upper()} {path}", operation


def routes(kept: Kept) -> str:
    """Every route with its status codes. A route whose code says nothing keeps its meaning."""
    rows = []
    for route, operation in _operations():
        statuses = sorted(s for s in operation["responses"] if s.isdigit())
        text = operation.get("description") or meaning(route, kept)
        role = operation.get(ROLE, "")
        rows.append([code(route), role, ", ".join(statuses), text])
    return table(["route", "role", "success", "what it does"], rows)


def parameters(kept: Kept) -> str:
    """Every query parameter and header. One whose code says nothing keeps its meaning."""
    found: dict[str, list[str]] = {}
    for route, operation in _operations():
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                continue
            name = parameter["name"]
            if parameter["in"] == "header":
                name = name.title()
            default = parameter["schema"].get("default")
            shown = "" if default is None else code(default)
            text = parameter.get("description") or meaning(f"{route}: {name}", kept)
            key = f"{route}: {name}"
            found[key] = [code(key), parameter["in"], shown, text]
    return table(["parameter", "in", "default", "meaning"], found.values())


def errors(kept: Kept) -> str:
    """Every code that an HTTP client can get, with its status. The meanings are kept."""
    classes = [c for c in vars(core_errors).values() if isinstance(c, type)]
    rows = [
        [code(c.code), str(status_of(c(""))), meaning(c.code, kept)]
        for c in classes
        if issubclass(c, EvergreenError) and status_of(c("")) != 500
    ]
    return table(["code", "status", "when"], sorted(rows))


def bodies(_kept: Kept) -> str:
    """The fields of every JSON body."""
    parts = []
    for name, schema in sorted(_document()["components"]["schemas"].items()):
        rows = [
            [code(field), _type(part), part.get("description", "")]
            for field, part in schema.get("properties", {}).items()
        ]
        parts.append(f"### {name}\n\n{table(['field', 'type', 'meaning'], rows)}")
    return "\n".join(parts)


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(map(code, schema["enum"]))
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    return " ".join(filter(None, (schema.get("format", ""), schema.get("type", "any"))))
