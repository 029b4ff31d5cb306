"""Query parameters: one that a route does not take, or that comes twice, is refused. Otherwise a
misspelt one would be ignored, and its default would hold."""

from __future__ import annotations

from collections import Counter

from fastapi import Request
from fastapi.routing import APIRoute

from core.errors import InvalidRequest


async def refuse_unknown(request: Request) -> None:
    """A dependency of every route. Raises InvalidRequest."""
    if not request.scope["query_string"]:
        return
    route = request.scope["route"]
    if not isinstance(route, APIRoute):
        return
    if not route.include_in_schema and request.method == "GET":
        return  # a page that another site links to
    known = _known(request, route)
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


def _known(request: Request, route: APIRoute) -> set[str]:
    """As the contract says, which FastAPI makes once."""
    paths = request.app.openapi()["paths"]
    operation = paths.get(route.path_format, {}).get(request.method.lower(), {})
    parameters = operation.get("parameters", [])
    return {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
