"""Keys at the door: who is served in which mode, and what a refusal says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from core.access import keys
from core.access.roles import Role
from core.errors import StoreError
from service.api.app import create_app
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.access_clients import Headers, add_key
from tests.service.client import JPEG, new_image
from tests.service.conftest import local_client

pytestmark = pytest.mark.slow  # not in `make check`

ABROAD = ("192.0.2.7", 50_000)
Make = Callable[..., TestClient]


@pytest.fixture
def client_with(keyed_serving: ServingProcess) -> Make:
    """A client of the app with these settings, on this machine unless it has another address."""

    def make(client: tuple[str, int] = ("127.0.0.1", 1), **settings: Any) -> TestClient:
        app = create_app(keyed_serving.settings.model_copy(update=settings))
        app.state.serving = keyed_serving
        return local_client(app, client=client)

    return make


# Keys


def test_prediction_needs_a_key_in_force_and_the_refusal_never_says_what_is_wrong(
    keyed: TestClient, keyed_serving: ServingProcess, as_role: dict[Role, Headers]
) -> None:
    store, good = keyed_serving.store, as_role[Role.PREDICT]["Authorization"]
    expired = add_key(store, "expired", Role.ADMIN, expires_at=time.time() - 1)
    revoked = add_key(store, "revoked", Role.ADMIN)
    with store.db.write() as conn:
        keys.revoke(conn, "revoked", time.time())
    keyed_serving.key_ring.renew().result(5)
    wrong: list[Headers] = [
        {},
        expired,
        revoked,
        {"Authorization": f"Bearer {keys.new_key()}"},
        {"Authorization": good[:-4] + "0000"},
        {"Authorization": good.removeprefix("Bearer ")},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer"},
        {"X-Api-Key": good},
    ]
    refusals = {
        (r.status_code, r.text, r.headers["www-authenticate"])
        for r in (keyed.post("/v1/predict", content=b"x", headers=JPEG | each) for each in wrong)
    }
    assert len(refusals) == 1
    assert refusals.pop()[0] == 401
    response = keyed.post(
        "/v1/predict", content=new_image(), headers=JPEG | {"Authorization": good}
    )
    assert response.status_code == 200
    lower = {"authorization": good.replace("Bearer", "bearer ")}
    assert keyed.get("/v1/status", headers=lower).status_code == 200


def test_refusals_are_problems_of_the_api_that_was_asked(
    keyed: TestClient, as_role: dict[Role, Headers]
) -> None:
    assert_problem.problem(keyed.get("/v1/status"), 401, "key-required", "evergreen key add")
    forbidden = keyed.post("/v1/retrain", headers=as_role[Role.LABEL])
    assert assert_problem.problem(forbidden, 403, "role-required", "train")
    assert set(keyed.get("/v2").json()) == {"error"}
    assert keyed.get("/v2").status_code == 401


def test_refusal_comes_before_the_body_is_read(keyed: TestClient) -> None:
    def endless() -> Any:
        raise AssertionError("the body was read")
        yield b""

    assert keyed.post("/v1/predict", content=endless(), headers=JPEG).status_code == 401
    long = {"Content-Length": "999999999999"} | JPEG
    assert keyed.post("/v1/predict", content=b"", headers=long).status_code == 401


def test_refusals_are_counted(keyed: TestClient, as_role: dict[Role, Headers]) -> None:
    keyed.get("/v1/status")
    text = keyed.get("/metrics", headers=as_role[Role.PREDICT]).text
    assert 'evergreen_refused_requests_total{code="key-required"}' in text


def test_web_sockets_are_closed(keyed: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), keyed.websocket_connect("/v1/predict"):
        pass


def test_known_key_predicts_while_the_database_is_away(
    keyed: TestClient,
    keyed_serving: ServingProcess,
    as_role: dict[Role, Headers],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away() -> Any:
        raise StoreError("away")

    keyed_serving.key_ring.renew().result(5)
    monkeypatch.setattr(keyed_serving.store.db, "read", away)
    keyed_serving.key_ring._fresh_until = 0.0
    headers = JPEG | as_role[Role.PREDICT]
    assert keyed.post("/v1/predict", content=new_image(), headers=headers).status_code == 200


# Modes


def test_without_keys_only_this_machine_is_served(fresh: TestClient) -> None:
    assert fresh.get("/v1/status").status_code == 200
    app = fresh.app
    for address in ("::1", "127.8.8.8", "::ffff:127.0.0.1"):
        assert local_client(app, client=(address, 1)).get("/v1/status").status_code == 200
    for address in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "", "no-address"):
        refused = local_client(app, client=(address, 1)).get("/v1/status")
        assert_problem.problem(refused, 401, "key-required", "EVERGREEN_AUTH=off", "key add")
    assert local_client(app, client=ABROAD).get("/v2/health/live").status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_proxy_on_this_machine_is_not_this_machine(fresh: TestClient, header: str) -> None:
    assert fresh.get("/v1/status", headers={header: "127.0.0.1"}).status_code == 401


def test_a_key_that_was_made_is_needed_everywhere_even_once_it_is_revoked(
    keyed_serving: ServingProcess, client_with: Make, as_role: dict[Role, Headers]
) -> None:
    assert client_with().get("/v1/status").status_code == 401
    assert client_with(auth="off").get("/v1/status").status_code == 200
    assert client_with(ABROAD, auth="off").get("/v1/status").status_code == 200
    assert client_with(ABROAD).get("/v1/status", headers=as_role[Role.PREDICT]).status_code == 200


def test_mode_keys_asks_for_one_before_there_is_any(fresh: TestClient) -> None:
    serving = fresh.app.state.serving
    app = create_app(serving.settings.model_copy(update={"auth": "keys"}))
    app.state.serving = serving
    assert local_client(app).get("/v1/status").status_code == 401


# A proxy that authenticates


def test_user_of_a_trusted_proxy_has_the_role_of_the_setting(client_with: Make) -> None:
    trusted = {"trusted_user_header": "x-user", "trusted_proxies": ("10.0.0.0/8",)}
    near, far = client_with(("10.1.2.3", 1), **trusted), client_with(ABROAD, **trusted)
    user = {"X-User": "ann"}
    assert far.get("/v1/status", headers=user).status_code == 401
    assert near.get("/v1/status").status_code == 401
    assert near.get("/v1/status", headers=user).status_code == 200
    assert near.post("/v1/retrain", headers=user).status_code == 403
    label = near.post(
        "/v1/feedback", files={"image": ("a", new_image())}, data={"label": "cat"}, headers=user
    )
    assert label.json()["who"] == "ann"
    assert near.get("/v1/status", headers={"X-User": "self-healing"}).status_code == 422
    assert near.get("/v1/status", headers={"X-User": ""}).status_code == 401
