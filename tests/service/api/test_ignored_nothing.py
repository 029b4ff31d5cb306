"""Nothing that a client sends is silently ignored: parameters, fields, bodies, types."""

from __future__ import annotations

import asyncio

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from core.errors import InvalidRequest
from service.api import request_bodies
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
    response = client.request(method, path, content=images.png(), headers=PNG)
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
        request_bodies.check_complete(scope, b"", length)
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
    request_bodies.check_complete({"type": "http", "headers": headers}, b"{}", 2)


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
