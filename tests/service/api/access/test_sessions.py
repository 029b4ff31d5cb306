"""The page's sign-in: a cookie instead of the key."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from itsdangerous import URLSafeTimedSerializer
from starlette.responses import Response
from starlette.testclient import TestClient

from core.access import keys
from core.access.keys import Key
from core.access.roles import Role
from core.errors import InvalidRequest
from core.settings import Settings
from service.api.access import sessions
from service.api.access.sessions import COOKIE, Sessions
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.access_clients import Headers, add_key
from tests.service.conftest import client_of

pytestmark = pytest.mark.slow  # not in `make check`

SAME = {"Sec-Fetch-Site": "same-origin"}
KEY = Key("0" * 12, "a" * 64, "ann", Role.LABEL)


def token_of(headers: Headers) -> str:
    return headers["Authorization"].removeprefix("Bearer ")


def sign_in(client: TestClient, headers: Headers) -> str:
    response = client.post("/v1/session", json={"key": f" {token_of(headers)}\n"}, headers=SAME)
    assert response.status_code == 200
    return response.headers["set-cookie"]


@pytest.fixture
def page(keyed_serving: ServingProcess, as_role: dict[Role, Headers]) -> TestClient:
    """A browser's cookies are its own."""
    return client_of(keyed_serving)


def test_cookie_stands_for_the_key_and_no_script_or_foreign_page_gets_it(
    page: TestClient, as_role: dict[Role, Headers]
) -> None:
    assert page.get("/v1/session").status_code == 401
    cookie = sign_in(page, as_role[Role.LABEL])
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert f"Max-Age={sessions.LASTS_S}" in cookie
    assert token_of(as_role[Role.LABEL])[-20:] not in cookie
    assert page.get("/v1/session").json() == {
        "name": "a-label",
        "role": "label",
        "is_signed_in": True,
    }
    assert page.post("/v1/retrain", headers=SAME).status_code == 403


def test_cookie_is_for_https_only_where_there_is_https(
    page: TestClient, as_role: dict[Role, Headers]
) -> None:
    told = {"X-Forwarded-Proto": "https"}
    response = page.post(
        "/v1/session", json={"key": token_of(as_role[Role.LABEL])}, headers=SAME | told
    )
    assert "Secure" in response.headers["set-cookie"]


def test_signing_out_deletes_the_cookie(page: TestClient, as_role: dict[Role, Headers]) -> None:
    sign_in(page, as_role[Role.LABEL])
    assert page.delete("/v1/session", headers=SAME).status_code == 204
    assert page.get("/v1/status").status_code == 401


def test_session_ends_with_its_key(page: TestClient, keyed_serving: ServingProcess) -> None:
    headers = add_key(keyed_serving.store, "leaver", Role.LABEL)
    keyed_serving.key_ring.renew().result(5)
    sign_in(page, headers)
    assert page.get("/v1/status").status_code == 200
    with keyed_serving.store.db.write() as conn:
        keys.revoke(conn, "leaver", time.time())
    keyed_serving.key_ring.renew().result(5)
    assert page.get("/v1/status").status_code == 401


def test_session_ends_after_its_hours(
    page: TestClient, as_role: dict[Role, Headers], monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(page, as_role[Role.LABEL])
    monkeypatch.setattr(sessions, "LASTS_S", -1)
    assert page.get("/v1/status").status_code == 401


def test_header_is_the_key_if_there_are_both(
    page: TestClient, as_role: dict[Role, Headers]
) -> None:
    sign_in(page, as_role[Role.ADMIN])
    refused = page.get("/v1/status", headers={"Authorization": f"Bearer {keys.new_key()}"})
    assert refused.status_code == 401


def test_wrong_key_signs_nobody_in(page: TestClient) -> None:
    for key in ("", "eg_1_2", keys.new_key()):
        refused = page.post("/v1/session", json={"key": key}, headers=SAME)
        assert_problem.problem(refused, 401, "key-required")
        assert "set-cookie" not in refused.headers
    for body in ({}, {"key": 1}, {"key": "x" * 201}, {"key": "x", "more": 1}):
        assert page.post("/v1/session", json=body, headers=SAME).status_code == 422


def test_page_of_another_origin_cannot_sign_in_or_out(
    page: TestClient, as_role: dict[Role, Headers]
) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    body = {"key": token_of(as_role[Role.LABEL])}
    assert page.post("/v1/session", json=body, headers=foreign).status_code == 403
    assert page.delete("/v1/session", headers=foreign).status_code == 403


def test_forged_cookies_are_none(page: TestClient, keyed_serving: ServingProcess) -> None:
    (row, *_) = keyed_serving.key_ring._by_id.values()
    forged = URLSafeTimedSerializer("guess", salt="evergreen.session").dumps([row.id, row.digest])
    for cookie in (forged, "", "x", "a.b.c"):
        headers = {"Cookie": f"{COOKIE}={cookie}"}
        assert page.get("/v1/status", headers=headers).status_code == 401


def test_without_keys_the_page_is_nobody_in_particular(fresh: TestClient) -> None:
    assert fresh.get("/v1/session").json() == {
        "name": None,
        "role": "admin",
        "is_signed_in": False,
    }


def cookie_of(made: Sessions) -> dict[bytes, bytes]:
    response = Response()
    made.begin(KEY, response, {"headers": []})
    return {b"cookie": response.headers["set-cookie"].split(";")[0].encode()}


def test_processes_of_a_home_know_each_others_sessions(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    cookie = cookie_of(Sessions(settings))
    other = Sessions(settings)
    assert other.key_id(cookie) == KEY.id
    assert other.is_of(cookie, KEY)
    assert not other.is_of(cookie, Key(KEY.id, "b" * 64, "eve", Role.ADMIN))
    assert Sessions(Settings(home=tmp_path / "elsewhere")).key_id(cookie) is None
    (secret,) = settings.home.iterdir()
    assert os.stat(secret).st_mode & 0o777 == 0o600


def test_machines_share_the_secret_of_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("short")
    one = Settings(home=tmp_path / "a", session_secret_file=secret)
    with pytest.raises(InvalidRequest, match="5 bytes; 16 are needed"):
        cookie_of(Sessions(one))
    secret.write_text("0" * 64)
    cookie = cookie_of(Sessions(one))
    assert Sessions(one.model_copy(update={"home": tmp_path / "b"})).key_id(cookie) == KEY.id
