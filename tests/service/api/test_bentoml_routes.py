"""The routes for BentoML's clients and for orchestrators."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.conftest import app_of, local_client
from tests.support import images

PNG = images.png(32, 32)


@pytest.mark.parametrize(
    "content_type", ["image/png", "image/*", "text/plain", "application/json", "", None]
)
def test_image_is_predicted_under_any_type_that_bentomls_clients_send(
    client: TestClient, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = client.post("/predict", content=PNG, headers=headers)
    assert response.status_code == 200
    assert len(response.json()["top"]) == 5


def test_plain_form_is_predicted_as_by_v1(client: TestClient) -> None:
    answers = [
        client.post(path, files={"image": ("a.png", PNG)}).json()
        for path in ("/predict", "/v1/predict")
    ]
    for answer in answers:
        del answer["prediction_id"]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("options", "status", "code", "part"),
    [
        ({"data": {"image": "x"}}, 415, "unsupported-media-type", "multipart/form-data"),
        (
            {"headers": {"Content-Type": "application/vnd.bentoml+pickle"}, "content": b"x"},
            415,
            "unsupported-media-type",
            "pickle",
        ),
        ({"json": {"image": "aGk="}}, 422, "undecodable-image", "unknown format"),
        ({}, 422, "undecodable-image", "it is empty"),
        ({"files": {"photo": ("a.png", PNG)}}, 422, "invalid-request", "`image`"),
        (
            {"files": [("image", ("a.png", PNG)), ("image", ("b.png", PNG))]},
            422,
            "invalid-request",
            "/v1/predict",
        ),
        (
            {"files": {"image": ("a.png", PNG)}, "data": {"label": "cat"}},
            422,
            "invalid-request",
            "'label'",
        ),
        (
            {"headers": {"Content-Type": "multipart/form-data"}, "content": b"x"},
            422,
            "invalid-request",
            "cannot be read",
        ),
        ({"params": {"top": "3"}, "content": PNG}, 422, "invalid-request", "'top'"),
    ],
)
def test_what_is_no_image_is_a_clear_problem(
    client: TestClient, options: dict[str, object], status: int, code: str, part: str
) -> None:
    response = client.post("/predict", **options)  # type: ignore[arg-type]
    assert_problem.problem(response, status, code, part)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("OPTIONS", "/predict", "POST"),
        ("POST", "/livez", "GET, HEAD"),
        ("PUT", "/healthz", "GET, HEAD"),
        ("DELETE", "/readyz", "GET, HEAD"),
        ("POST", "/schema.json", "GET, HEAD"),
    ],
)
def test_other_methods_are_refused_with_those_that_are_taken(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    response = client.request(method, path)
    assert response.headers["allow"] == allowed
    assert_problem.problem(response, 405, "method-not-allowed", f"use {allowed}")


@pytest.mark.parametrize("path", ["/livez", "/healthz", "/readyz"])
def test_probes_answer(client: TestClient, path: str) -> None:
    assert client.get(path).text == "\n"
    assert client.head(path).status_code == 200


def test_server_that_ends_is_alive_and_not_ready(
    client: TestClient, serving: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving.drain, "is_on", True)
    assert_problem.problem(client.get("/readyz"), 503, "not-ready", "another one")
    assert client.get("/livez").status_code == 200


def test_service_that_starts_is_alive_and_not_ready(serving: ServingProcess) -> None:
    app = app_of(serving)
    del app.state.serving
    starting = TestClient(app)
    assert_problem.problem(starting.get("/readyz"), 503, "not-ready", "is starting")
    assert starting.get("/livez").status_code == 200


def test_schema_is_that_of_bentoml(client: TestClient, serving: ServingProcess) -> None:
    assert_problem.problem(client.get("/schema.json"), 404, "not-found")
    app = app_of(serving)
    app.state.bentoml_schema = {"name": "Evergreen"}
    assert local_client(app).get("/schema.json").json() == {"name": "Evergreen"}
