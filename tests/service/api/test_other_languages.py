"""Ids, numbers and JSON as clients in other languages write them: taken rightly, or refused."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
from starlette.testclient import TestClient

from core import runs
from core.errors import InvalidRequest
from service.api import json_bodies
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.client import JSON, new_image, predict
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`

# With it, a promotion that is valid ends before it takes its time.
OTHER_TAG = {"If-Match": '"999999"'}


def label(client: TestClient, content: bytes | str, content_type: str = "application/json") -> Any:
    return client.post("/v1/feedback", content=content, headers={"Content-Type": content_type})


@pytest.mark.parametrize(
    "spelt",
    [
        pytest.param(str.upper, id="capitals"),
        pytest.param(lambda text: text.replace("-", ""), id="without hyphens"),
        pytest.param(lambda text: f"{{{text}}}", id="braces"),
        pytest.param(lambda text: f"urn:uuid:{text}", id="urn"),
        pytest.param(lambda text: f" {text}\n", id="spaces"),
    ],
)
def test_id_is_known_in_any_spelling_of_a_uuid(
    client: TestClient, serving: ServingProcess, spelt: Any
) -> None:
    prediction_id = predict(client)
    body = {"prediction_id": spelt(prediction_id), "label": "cat"}
    response = label(client, json.dumps(body))
    assert response.status_code == 201, response.text
    assert response.json()["prediction_id"] == prediction_id
    with serving.store.db.write() as conn:
        run, _ = runs.request(conn, trigger="request", tier="head", wanted=None, now=time.time())
    path = f"/v1/runs/{str(uuid.UUID(spelt(run.id).strip())).upper()}"
    assert client.get(path).json()["id"] == run.id
    assert client.delete(path).status_code == 202


@pytest.mark.parametrize(
    ("encoding", "content_type"),
    [
        ("utf-8", "application/json; charset=utf-8"),
        ("utf-8", 'Application/JSON;charset="UTF-8"'),
        ("utf-8-sig", "application/json"),
        ("utf-16", "application/json; charset=utf-16"),
        ("utf-16-le", "application/json"),
        ("utf-16-be", "application/json"),
        ("utf-32", "application/json"),
        ("utf-8", "application/json; charset=iso-8859-1"),
    ],
)
def test_json_is_read_in_every_encoding_of_unicode(
    client: TestClient, encoding: str, content_type: str
) -> None:
    text = json.dumps({"prediction_id": predict(client), "label": "Käse 😀"}, ensure_ascii=False)
    response = label(client, text.encode(encoding), content_type)
    assert response.status_code == 201, response.text
    assert response.json()["label"] == "Käse 😀"
    body = '{"version": 1, "why": "Käse"}'.encode(encoding)
    headers = {"Content-Type": content_type, **OTHER_TAG}
    response = client.put("/v1/champion", content=body, headers=headers)
    assert response.status_code == 412, response.text


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ('{"version": 1, "why": "Käse"}'.encode("latin-1"), ("not UTF-8", "byte 24 is 0xe4")),
        (b'{"version": 1, "version": 2}', ("'version' twice", "once")),
        (b'{"version": NaN}', ("NaN", "no JSON")),
        (b'{"version": -Infinity}', ("-Infinity", "no JSON")),
        (b'{"version": 1e400}', ("finite",)),
        (b'{"version": ' + b"9" * 5_000 + b"}", ("4,000 digits",)),
        (b'{"version": 1.5}', ("1.5", "fractional")),
        (b'{"version": "1_0"}', ("'1_0'", "no underscores")),
        ('{"version": "١"}'.encode(), ("'١'", "integer")),
        (b'{"version": ""}', ("integer",)),
        (b'{"version": 01}', ("line 1, column 14",)),
        (b'{"version": 1,}', ("line 1, column",)),
        (b"{'version': 1}", ("double quotes", "column 2")),
        (b'{"version": 1, "why": "\\ud800"}', ("why", "unicode")),
        (b"[" * 100_000, ("nested too deeply",)),
        (b"nonsense", ("no JSON", "line 1, column 1")),
        (b'{"version": "1', ("no JSON: unterminated string starting at line 1, column 13",)),
        (b"", ("field required",)),
    ],
)
def test_json_that_parsers_read_differently_is_refused(
    client: TestClient, content: bytes, parts: tuple[str, ...]
) -> None:
    response = client.put("/v1/champion", content=content, headers=JSON)
    assert_problem.problem(response, 422, "invalid-request", *parts)


def test_many_fields_take_no_longer_for_one_that_comes_twice() -> None:
    fields = ",".join(f'"{i}":1' for i in range(30_000))
    started = time.monotonic()
    with pytest.raises(InvalidRequest, match="'29999' twice"):
        json_bodies.to_utf8(f'{{{fields},"29999":1}}'.encode())
    assert time.monotonic() - started < 2


def test_long_json_is_refused_before_it_is_parsed(client: TestClient) -> None:
    response = client.put("/v1/champion", content=b"[" * 600_000, headers=JSON)
    assert_problem.problem(response, 413, "body-too-large", "600,000", "500,000")


@pytest.mark.parametrize("number", ["1", "1.0", "1e0", '"1"', '" 1 "', '"1.0"'])
def test_whole_number_is_taken_as_any_language_writes_it(client: TestClient, number: str) -> None:
    content = f'{{"version": {number}}}'
    response = client.put("/v1/champion", content=content, headers={**JSON, **OTHER_TAG})
    assert response.status_code == 412, response.text
    response = client.put("/v1/champion", content=content.replace("1", "7", 1), headers=JSON)
    assert_problem.problem(response, 404, "unknown-version", "version 7")


@pytest.mark.parametrize("content_type", ["text/json", "text/plain", "application/x+json", ""])
@pytest.mark.parametrize(("method", "path"), [("PUT", "/v1/champion"), ("POST", "/v1/retrain")])
def test_other_type_than_json_is_refused_by_name(
    client: TestClient, method: str, path: str, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    response = client.request(method, path, content=b'{"version": 1}', headers=headers)
    assert_problem.problem(
        response, 415, "unsupported-media-type", repr(content_type), "application/json"
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/versions/%31", 200),
        ("/v1/versions/1/", 404),
        ("/v1/versions/1_0", 422),
        ("/v1/versions/%D9%A1", 422),
        ("/v1/versions/1e0", 422),
        ("/v1/versions/-1", 404),
        (f"/v1/versions/{'9' * 30}", 404),
        (f"/v1/versions/{'9' * 5_000}", 422),
        ("/v1/versions?limit=1_0", 422),
        ("/v1/versions?limit=", 422),
        (f"/v1/versions?before={'9' * 30}", 200),
        ("/v1/runs/%00", 404),
        ("/v1/runs/%ff", 404),
        ("/v1/runs/a%2Fb", 404),
        ("/v1/runs/%F0%9F%98%80", 404),
    ],
)
def test_path_is_read_as_written_or_refused(client: TestClient, path: str, status: int) -> None:
    response = client.get(path)
    assert response.status_code == status, response.text
    if status != 200:
        assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("W/{}", 200),
        ('"999999", {}', 200),
        ('"999999"', 412),
        ('"999998", "999999"', 412),
        ('"abc"', 422),
        ("*, *", 422),
        ("", 422),
    ],
)
def test_if_match_takes_weak_tags_and_lists(client: TestClient, form: str, status: int) -> None:
    headers = {"If-Match": form.format(client.get("/v1/champion").headers["etag"])}
    response = client.put("/v1/champion", json={"version": 1}, headers=headers)
    assert response.status_code == status, response.text


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "", "x;;;"])
def test_accept_changes_no_answer(client: TestClient, accept: str) -> None:
    response = client.get("/v1/champion", headers={"Accept": accept})
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("key", ['"quoted"', "plain", "ä"])
def test_idempotency_key_may_be_quoted(client: TestClient, key: str) -> None:
    body = {"prediction_id": predict(client), "label": "cat"}
    headers = {"Idempotency-Key": key.encode()}
    statuses = [client.post("/v1/feedback", json=body, headers=headers).status_code for _ in "12"]
    assert statuses == [201, 200]


@pytest.mark.parametrize(
    ("label_bytes", "status"), [("Käse".encode(), 201), ("Käse".encode("latin-1"), 422)]
)
def test_form_is_read_in_utf8_only(client: TestClient, label_bytes: bytes, status: int) -> None:
    head = b"--x\r\nContent-Disposition: form-data; name="
    body = b"".join(
        (
            head + b'"image"; filename="a"\r\n\r\n' + new_image() + b"\r\n",
            head + b'"label"\r\n\r\n' + label_bytes + b"\r\n--x--\r\n",
        )
    )
    response = label(client, body, "multipart/form-data; boundary=x")
    assert response.status_code == status, response.text
    if status == 422:
        assert_problem.problem(response, 422, "invalid-request", "'label' is not UTF-8")


def test_long_numbers_of_a_header_are_refused(client: TestClient) -> None:
    headers = {"Content-Type": "image/png", "X-Request-Timeout-Ms": "9" * 30}
    response = client.post("/v1/predict", content=images.png(), headers=headers)
    assert_problem.problem(response, 422, "invalid-request", "3600000")
