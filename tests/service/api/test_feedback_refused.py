from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.labelling import labels
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.client import JSON, label_image, label_prediction, new_image, predict
from tests.support import images


@pytest.mark.parametrize("prediction_id", ["0190-nope", "", "nul\x00", "ü" * 36])
def test_label_of_unknown_prediction_is_not_found(client: TestClient, prediction_id: str) -> None:
    response = label_prediction(client, prediction_id, "cat")
    assert_problem.problem(response, 404, "unknown-prediction", "send the input itself")


BAD_LABELS = [
    pytest.param("", ("empty", "such as 'cat'"), id="empty"),
    pytest.param(" \t\n", ("empty", "such as 'cat'"), id="blank"),
    pytest.param("x" * 10_000, ("10,000", "100", "such as 'cat'"), id="10kB"),
    pytest.param("ä" * 101, ("101", "100"), id="101-characters"),
    pytest.param("a\x00b", ("control character", "plain text"), id="nul"),
    pytest.param("a\x1b[31mb", ("control character", "plain text"), id="escape"),
    pytest.param("a\nb", ("control character", "plain text"), id="two-lines"),
]


@pytest.mark.parametrize(("label", "parts"), BAD_LABELS)
def test_bad_label_of_a_prediction_is_refused(
    client: TestClient, label: str, parts: tuple[str, ...]
) -> None:
    assert_problem.problem(
        label_prediction(client, predict(client), label), 422, "invalid-label", *parts
    )


@pytest.mark.parametrize(("label", "parts"), BAD_LABELS)
def test_bad_label_of_an_image_is_refused(
    client: TestClient, label: str, parts: tuple[str, ...]
) -> None:
    assert_problem.problem(label_image(client, new_image(), label), 422, "invalid-label", *parts)


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ("", ("the body",)),
        ("[]", ("the body",)),
        ('{"label": "cat"}', ("prediction_id",)),
        ('{"prediction_id": "x"}', ("label",)),
        ('{"prediction_id": 7, "label": "cat"}', ("prediction_id", "string")),
        ('{"prediction_id": "x", "label": null}', ("label", "string")),
        ('{"prediction_id": "x", "label": "cat", "lable": "dog"}', ("lable", "not permitted")),
        (json.dumps({"prediction_id": "x" * 37, "label": "cat"}), ("prediction_id", "36")),
    ],
)
def test_malformed_json_is_refused(client: TestClient, body: str, parts: tuple[str, ...]) -> None:
    response = client.post("/v1/feedback", content=body.encode(), headers=JSON)
    assert_problem.problem(response, 422, "invalid-request", *parts, 'send {"prediction_id"')


@pytest.mark.parametrize("way", ["prediction", "image"])
@pytest.mark.parametrize(
    ("who", "part"), [("w" * 101, "101"), ("a\x00b", "control character")], ids=["long", "nul"]
)
def test_bad_who_is_refused(client: TestClient, way: str, who: str, part: str) -> None:
    send = label_image if way == "image" else label_prediction
    subject: Any = new_image() if way == "image" else predict(client)
    assert_problem.problem(
        send(client, subject, "cat", fields={"who": who}), 422, "invalid-request", part
    )


@pytest.mark.parametrize("content_type", ["text/plain", "image/jpeg", ""])
def test_other_content_type_is_refused(client: TestClient, content_type: str) -> None:
    response = client.post("/v1/feedback", content=b"x", headers={"Content-Type": content_type})
    assert_problem.problem(
        response,
        415,
        "unsupported-media-type",
        repr(content_type),
        "application/json",
        "multipart/form-data",
    )


def test_form_without_label_is_refused(client: TestClient) -> None:
    response = client.post("/v1/feedback", files={"image": ("a", new_image())})
    assert_problem.problem(response, 422, "invalid-request", "`label`", "-F label=cat")


def test_form_with_unknown_field_is_refused(client: TestClient) -> None:
    response = label_image(client, new_image(), "cat", fields={"lable": "dog"})
    assert_problem.problem(response, 422, "invalid-request", "lable", "it takes label, who")


def test_label_of_what_is_no_image_is_refused(client: TestClient) -> None:
    for image, code in (
        (b"nope", "undecodable-image"),
        (b"\xff\xd8\xff\x00no segment\xff\xe0", "undecodable-image"),
        (images.bomb_png(), "image-too-large"),
    ):
        assert_problem.problem(label_image(client, image, "cat"), 422, code)


def test_refused_label_stores_nothing(client: TestClient, serving: ServingProcess) -> None:
    with serving.store.db.read() as conn:
        before = labels.newest_id(conn)
    label_image(client, new_image(), "")
    label_image(client, b"nope", "cat")
    label_prediction(client, "unknown", "cat")
    with serving.store.db.read() as conn:
        assert labels.newest_id(conn) == before


def test_label_with_half_a_character_is_refused(client: TestClient) -> None:
    body = b'{"prediction_id": "x", "label": "\\ud800"}'
    response = client.post("/v1/feedback", content=body, headers=JSON)
    assert_problem.problem(response, 422, "invalid-label", "U+D800")
