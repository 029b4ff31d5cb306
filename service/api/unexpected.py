"""What a route does not take is refused: query parameters that it does not know or that come twice,
and bodies. Otherwise a misspelt parameter would be ignored, and its default would hold."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute

from core.errors import InvalidRequest

# Of the route that takes what no other does, and refuses it.
ANY_PATH = "/{path:path}"


async def refuse_unexpected(request: Request) -> None:
    """A dependency of every route. Raises InvalidRequest."""
    route = request.scope["route"]
    if not isinstance(route, APIRoute) or route.path == ANY_PATH:
        return
    # A body is read before its route is called, so its length is known.
    if not _takes_body(request, route) and await request.body():
        raise InvalidRequest(
            f"{request.method} {route.path} takes no body, and this one has "
            f"{len(await request.body()):,} bytes; send it without"
        )
    is_page = request.method == "GET" and not route.include_in_schema  # other sites link to it
    if request.scope["query_string"] and not is_page:
        _check_query(request, route)


def _takes_body(request: Request, route: APIRoute) -> bool:
    if not route.include_in_schema:
        return request.method != "GET"
    return "requestBody" in _documented(request, route)


def _check_query(request: Request, route: APIRoute) -> None:
    parameters = _documented(request, route).get("parameters", [])
    known = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
    counts = Counter(name for name, _ in request.query_params.multi_items())
    unknown = sorted(counts.keys() - known)
    if unknown:
        takes = ", ".join(sorted(known)) or "none"
        raise InvalidRequest(
            f"the query has unknown parameters {[name[:40] for name in unknown[:5]]}; "
            f"{request.method} {route.path} takes {takes}"
        )
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise InvalidRequest(f"the query has {twice} more than once; send each once")


def _documented(request: Request, route: APIRoute) -> dict[str, Any]:
    """The operation as the contract says, which FastAPI makes once."""
    operations = request.app.openapi()["paths"].get(route.path_format, {})
    operation: dict[str, Any] = operations.get(request.method.lower(), {})
    return operation
