"""What the OpenAPI document says of keys."""

from __future__ import annotations

from typing import Any

from service.api.access.route_roles import Open, need_of

ROLE = "x-required-role"


def add_keys(document: dict[str, Any]) -> dict[str, Any]:
    """Add the scheme, and to each operation the role that it needs."""
    document["components"]["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key, eg_...; none is needed on the machine itself until one is made.",
        }
    }
    document["security"] = [{"key": []}, {}]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            need = need_of(method.upper(), path)
            if isinstance(need, Open):
                operation["security"] = []
            else:
                operation[ROLE] = need.word
    return document
