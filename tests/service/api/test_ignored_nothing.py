"""Nothing that a client sends is silently ignored: parameters, fields, bodies, types."""

from __future__ import annotations

import asyncio
import gzip
import time
from unittest.mock import Mock

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from core import runs
from core.errors import InvalidRequest
from service.api import input_contract, json_bodies, request_bodies
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.support import images

PNG = {"Content-Type": "image/png"}


@pytest.mark.parametrize(
    ("method", "path", "takes"),
    [
        ("POST", "/v1/predict?tpo=3", "takes top, version"),
        ("GET", "/v1/versions?limt=3", "takes before, limit"),
        ("GET", "/v1/status?verbose=1", "takes none"),
        ("DELETE", "/v1/feedback/1?why=x", "takes who"),
    ],
)
def test_unknown_query_parameter_is_refused(
    client: TestClient, method: str, path: str, takes: str
) -> None:
    content = images.png() if method == "POST" else None
    response = client.request(method, path, content=content, headers=PNG)
    name = path.partition("?")[2].partition("=")[0]
    assert_problem.problem(response, 422, "invalid-request", name, takes)


def test_query_parameter_given_twice_is_refused(client: TestClient) -> None:
    response = client.post("/v1/predict?top=1&top=2", content=images.png(), headers=PNG)
    assert_problem.problem(response, 422, "invalid-request", "'top'", "once")


def test_page_takes_the_parameters_that_other_sites_add(client: TestClient) -> None:
    assert client.get("/?utm_source=x").status_code == 200


def form(client: TestClient, path: str, *parts: tuple[str, str]) -> object:
    body = "".join(
        f"--x\r\nContent-Disposition: form-data; {head}\r\n\r\n{text}\r\n" for head, text in parts
    )
    content = f"{body}--x--\r\n".encode("latin-1")
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    return client.post(path, content=content, headers=headers)


_PHOTO = ('name="image"; filename="a.png"', images.png(32, 32).decode("latin-1"))


def test_field_given_twice_is_refused(client: TestClient) -> None:
    response = form(
        client, "/v1/feedback", _PHOTO, ('name="label"', "cat"), ('name="label"', "dog")
    )
    assert_problem.problem(response, 422, "invalid-request", "'label' twice")


def test_part_without_a_file_name_is_refused_with_the_remedy(client: TestClient) -> None:
    for path in ("/v1/predict", "/v1/feedback"):
        response = form(client, path, ('name="image"', _PHOTO[1]))
        assert_problem.problem(response, 422, "invalid-request", "no file name", "filename=")


def test_unknown_field_of_a_prediction_is_refused(client: TestClient) -> None:
    response = form(client, "/v1/predict", _PHOTO, ('name="top"', "3"))
    assert_problem.problem(response, 422, "invalid-request", "'top'", "files `image` only")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/champion", {"version": True}),
        ("POST", "/v1/retrain", {"tier": "blocks", "minutes": True}),
    ],
)
def test_boolean_is_not_a_number(
    client: TestClient, method: str, path: str, body: dict[str, object]
) -> None:
    response = client.request(method, path, json=body)
    assert_problem.problem(response, 422, "invalid-request", "a boolean is not a number")


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([(b"upgrade", b"h2c"), (b"content-length", b"17")], 17),
        ([(b"upgrade", b"h2c"), (b"transfer-encoding", b"chunked")], None),
    ],
)
def test_lost_body_is_never_taken_for_an_empty_one(
    client: TestClient, headers: list[tuple[bytes, bytes]], length: int | None
) -> None:
    scope = {
        **{"type": "http", "method": "POST", "path": "/v1/retrain", "headers": headers},
        "client": ("127.0.0.1", 1),
    }
    with pytest.raises(InvalidRequest, match="without the header Upgrade"):
        request_bodies.checked(scope, b"", length, json_limits=json_bodies.DEFAULT_LIMITS)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    whole = {**scope, "query_string": b"", "http_version": "1.1", "root_path": ""}
    asyncio.run(client.app(whole, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 422
    assert client.get("/v1/runs").json()["runs"] == []


def test_body_that_arrives_behind_an_offer_to_upgrade_is_taken() -> None:
    headers = [(b"upgrade", b"h2c"), (b"content-length", b"2")]
    scope = {"type": "http", "path": "/v1/retrain", "headers": headers}
    assert request_bodies.checked(scope, b"{}", 2, json_limits=json_bodies.DEFAULT_LIMITS) == b"{}"


@pytest.mark.parametrize(
    "path", ["/", "/v1/status", "/v1/versions", "/v1/versions/1/model.onnx", "/metrics", "/v2"]
)
def test_head_is_what_get_is_without_the_body(client: TestClient, path: str) -> None:
    got, headed = client.get(path), client.head(path)
    assert headed.status_code == got.status_code == 200
    assert headed.content == b""
    assert headed.headers["content-type"] == got.headers["content-type"]


def test_head_of_what_is_not_there_is_as_get(client: TestClient) -> None:
    assert client.head("/v1/versions/99").status_code == 404
    response = client.head("/v1/retrain")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/status"),
        ("GET", "/v1/runs"),
        ("GET", "/v1/versions/1"),
        ("DELETE", "/v1/feedback/1"),
        ("DELETE", "/v1/runs/1"),
        ("GET", "/metrics"),
        ("GET", "/livez"),
        ("GET", "/"),
    ],
)
def test_body_that_no_route_takes_is_refused(client: TestClient, method: str, path: str) -> None:
    response = client.request(method, path, json={"limit": 3})
    assert_problem.problem(response, 422, "invalid-request", "takes no body", "11 bytes", method)


def test_body_of_the_protocol_that_no_route_takes_is_refused(client: TestClient) -> None:
    response = client.request("GET", "/v2", content=b"x")
    assert response.status_code == 400
    assert "takes no body" in response.json()["error"]


def test_empty_body_is_no_body(client: TestClient) -> None:
    assert client.request("GET", "/v1/status", content=iter([b""])).status_code == 200
    assert client.get("/v1/status", headers={"Content-Length": "0"}).status_code == 200


def test_path_that_is_nowhere_is_not_found_whatever_comes_with_it(client: TestClient) -> None:
    for method in ("GET", "POST", "DELETE"):
        response = client.request(method, "/v1/nowhere?x=1", content=b"body")
        assert_problem.problem(response, 404, "not-found", "/v1/nowhere")


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"{", "application/json"),
        (b" ", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"[]", "application/json"),
        (b'"head"', "application/json"),
        (b'{"tier": "blocks"}', "text/plain"),
        (b"tier=blocks", "application/x-www-form-urlencoded"),
        (b'{"tier": "blocks"}', None),
    ],
)
def test_unreadable_body_of_retrain_is_never_taken_for_an_empty_one(
    client: TestClient, content: bytes, content_type: str | None
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = client.post("/v1/retrain", content=content, headers=headers)
    assert response.status_code in (415, 422), response.text
    assert client.get("/v1/runs").json()["runs"] == []


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/v1/predict", "image/png"),
        ("/v1/feedback", "application/json"),
        ("/v1/retrain", "application/json"),
        ("/predict", "image/png"),
    ],
)
def test_compressed_body_is_refused_where_it_is_not_read(
    client: TestClient, path: str, content_type: str
) -> None:
    headers = {"Content-Type": content_type, "Content-Encoding": "gzip"}
    response = client.post(path, content=gzip.compress(b"{}"), headers=headers)
    assert_problem.problem(response, 415, "unsupported-media-type", "'gzip'", "as it is")
    headers["Content-Encoding"] = "identity"
    assert client.post(path, content=b"x", headers=headers).json()["code"] != (
        "unsupported-media-type"
    )


def test_head_of_the_events_of_a_run_ends(client: TestClient, serving: ServingProcess) -> None:
    with serving.store.db.write() as conn:
        run, _ = runs.request(conn, trigger="request", tier="head", wanted=None, now=time.time())
    response = client.head(f"/v1/runs/{run.id}/events")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"].startswith("text/event-stream")
    client.delete(f"/v1/runs/{run.id}")


def test_contract_is_made_for_no_request_but_its_own(
    fresh: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Mock(wraps=input_contract.of_home)
    monkeypatch.setattr(input_contract, "of_home", made)
    for path in ("/readyz", "/v1/status", "/v1/runs?limit=1"):
        assert fresh.get(path).status_code == 200
    assert fresh.delete("/v1/feedback/batch").status_code == 405
    assert made.call_count == 0
    assert fresh.get("/openapi.json").status_code == 200
    assert fresh.get("/openapi.json").status_code == 200
    assert made.call_count == 1
