"""What a route does not take is refused: query parameters that it does not know or that come twice,
and bodies. Otherwise a misspelt parameter would be ignored, and its default would hold."""

from __future__ import annotations

from collections import Counter

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from core.errors import InvalidRequest, UnsupportedMediaType
from service.api.access.route_roles import methods_of_fixed
from service.api.request_bodies import JSON, media_type

# Of the route that takes what no other does, and refuses it.
ANY_PATH = "/{path:path}"


async def refuse_unexpected(request: Request) -> None:
    """A dependency of every route. Raises InvalidRequest."""
    route = request.scope["route"]
    if not isinstance(route, APIRoute) or route.path == ANY_PATH:
        return
    methods = methods_of_fixed(request.scope["path"]) if "{" in route.path else []
    if methods:  # a method of another route, whose id this would be
        raise HTTPException(405, headers={"Allow": ", ".join(methods)})
    await _check_body(request, route)
    is_page = request.method == "GET" and not route.include_in_schema  # other sites link to it
    if request.scope["query_string"] and not is_page:
        _check_query(request, route)


async def _check_body(request: Request, route: APIRoute) -> None:
    if route.include_in_schema:
        types = _body_types(route)
    else:
        types = {"*/*"} if request.method == "POST" else set()
    is_other = types == {JSON} and media_type(request) != JSON
    # A body is read before its route is called, so this waits for nothing.
    if (types and not is_other) or not await request.body():
        return
    if types:
        raise UnsupportedMediaType(
            f"the Content-Type is {media_type(request)[:100]!r}; send {JSON} to "
            f"{request.method} {route.path}"
        )
    raise InvalidRequest(
        f"{request.method} {route.path} takes no body, and this one has "
        f"{len(await request.body()):,} bytes; send it without"
    )


def _check_query(request: Request, route: APIRoute) -> None:
    known = _query_names(route.dependant)
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


# The contract says both, but making it keeps the event loop busy for a quarter of a second.
def _body_types(route: APIRoute) -> set[str]:
    read_by_route = (route.openapi_extra or {}).get("requestBody", {}).get("content", ())
    return {*read_by_route, JSON} if route.body_field else {*read_by_route}


def _query_names(dependant: Dependant) -> set[str]:
    names = {field.alias for field in dependant.query_params}
    return names.union(*map(_query_names, dependant.dependencies))
