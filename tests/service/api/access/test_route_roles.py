"""Every route has a role, and none is reached without a key."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from starlette.routing import BaseRoute
from starlette.testclient import TestClient

from core.access.roles import Role
from core.settings import Settings
from service.api.access.route_roles import ROUTES, Open, need_of
from service.api.app import create_app
from tests.service.access_clients import Headers

pytestmark = pytest.mark.slow  # not in `make check`

READS = {"GET", "HEAD"}
OPEN = {
    "/livez",
    "/readyz",
    "/healthz",
    "/v2/health/live",
    "/v2/health/ready",
    "/",
    "/page/{path:path}",
    "/v1/session",
}


def routes_of(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, str]]:
    """All below these, the hidden ones among them, but the one that answers 404."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes_of(inner.routes)
        elif route.path != "/{path:path}":
            yield from ((method, route.path) for method in route.methods)


def test_every_route_of_the_app_is_in_the_table_and_no_other() -> None:
    app = create_app(Settings())
    found = {("GET" if m == "HEAD" else m, path) for m, path in routes_of(app.routes)}
    assert {(m.upper(), p) for p, item in app.openapi()["paths"].items() for m in item} <= found
    # BentoML has these two. The app has the rest of what BentoML's clients ask for.
    of_bento = {("GET", "/docs.json"), ("GET", "/static_content/{path:path}")}
    assert found == ROUTES.keys() - of_bento


@pytest.mark.slow  # imports BentoML
def test_every_route_of_bentoml_is_in_the_table(tmp_path: Path) -> None:
    script = (
        "import json, service.bento as bento; app = bento.Evergreen.to_asgi()\n"
        "print('ROUTES', json.dumps([[getattr(r, 'path', ''), sorted(getattr(r, 'methods', 0) or "
        "['GET']), type(r).__name__] for r in app.routes]))\n"
        "print('FIRST', [m.cls.__name__ for m in app.user_middleware])\n"
        "print('OURS', [m.cls.__name__ for m in bento.app.user_middleware])"
    )
    env = {**os.environ, "EVERGREEN_HOME": str(tmp_path), "BENTOML_HOME": str(tmp_path / "bento")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    routes = json.loads(re.search(r"ROUTES (.+)", done.stdout)[1])
    assert "PassiveMount" in [kind for _, _, kind in routes]  # our app
    for path, methods, kind in routes:
        if kind == "PassiveMount":
            continue
        path = f"{path}/{{path:path}}" if kind == "Mount" else path
        for method in set(methods) - {"HEAD"}:
            assert (method, path) in ROUTES, (method, path)
    # Every request goes to our app, and there nothing reads it before the gate.
    assert "'OursFirst'" in done.stdout.partition("FIRST")[2].partition("OURS")[0]
    ours = re.findall(r"'(\w+)'", done.stdout.partition("OURS")[2])
    assert ours == ["Gate", "RequestMiddleware"]


def test_only_probes_and_the_page_are_open() -> None:
    assert {path for (_, path), need in ROUTES.items() if isinstance(need, Open)} == OPEN


@pytest.mark.parametrize(
    ("method", "path"), [*ROUTES, ("GET", "/nothing"), ("PATCH", "/v1/predict")]
)
def test_route_is_refused_without_a_key_and_with_a_lesser_role(
    keyed: TestClient, as_role: dict[Role, Headers], method: str, path: str
) -> None:
    need = need_of(method, path)
    if isinstance(need, Open):
        return
    url = re.sub(r"\{[\w:]+\}", "1", path)
    # A body that nobody may read before the key is checked.
    sent = {} if method in READS else {"content": b"x" * 100, "headers": {"Content-Type": "a/b"}}
    refused = keyed.request(method, url, **sent)
    assert refused.status_code == 401, (method, path)
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    if need is not Role.PREDICT:
        lesser = as_role[Role(need - 1)]
        forbidden = keyed.request(method, url, headers=lesser)
        assert forbidden.status_code == 403
        assert need.word in forbidden.text
    if path == "/v1/stream":  # its answer has no end
        method = "HEAD"
    allowed = keyed.request(method, url, headers=as_role[need])
    assert allowed.status_code not in (401, 403)


def test_head_needs_what_get_needs(keyed: TestClient, as_role: dict[Role, Headers]) -> None:
    assert keyed.head("/v1/status").status_code == 401
    assert keyed.head("/v1/status", headers=as_role[Role.PREDICT]).status_code == 200
    assert need_of("HEAD", "/v1/versions/3") is Role.PREDICT


@pytest.mark.parametrize(
    "path", ["//v1/predict", "/v1/predict/", "/V1/predict", "/livez/", "/page", "/v2/health"]
)
def test_path_that_is_no_route_needs_an_admin(path: str) -> None:
    assert need_of("GET", path) is Role.ADMIN
    assert need_of("POST", path) is Role.ADMIN
