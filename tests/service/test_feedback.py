from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from core import labels
from service.serving import Serving
from tests import at_once, images
from tests.service import expect

JPEG = {"Content-Type": "image/jpeg"}
JSON = {"Content-Type": "application/json"}
_seed = iter(range(10_000, 20_000))


def new_image() -> bytes:
    return images.png(48, 48, seed=next(_seed))


def predict(client: TestClient, image: bytes | None = None) -> str:
    response = client.post("/v1/predict", content=image or new_image(), headers=JPEG)
    prediction_id: str = response.json()["prediction_id"]
    return prediction_id


def label_image(client: TestClient, image: bytes, label: str, **options: Any) -> httpx.Response:
    data = {"label": label, **options.pop("fields", {})}
    return client.post("/v1/feedback", files={"image": ("a", image)}, data=data, **options)


def label_prediction(client: TestClient, prediction_id: str, label: str, **options: Any) -> Any:
    body = {"prediction_id": prediction_id, "label": label, **options.pop("fields", {})}
    return client.post("/v1/feedback", json=body, **options)


def current(serving: Serving, example_id: int) -> str | None:
    with serving.store.db.read() as conn:
        found = {row.example_id: row.label for row in labels.current(conn)}
    return found.get(example_id)


def test_label_by_prediction_id_is_kept(client: TestClient, serving: Serving) -> None:
    prediction_id = predict(client)
    response = label_prediction(client, prediction_id, " cat ", fields={"who": "ann"})
    assert response.status_code == 201
    answer = response.json()
    assert (answer["label"], answer["who"], answer["prediction_id"], answer["retracts"]) == (
        "cat",
        "ann",
        prediction_id,
        None,
    )
    assert current(serving, answer["example_id"]) == "cat"


def test_label_by_image_is_kept(client: TestClient, serving: Serving) -> None:
    response = label_image(client, new_image(), "дом 🏠", fields={"who": "ben"})
    assert response.status_code == 201
    answer = response.json()
    assert (answer["label"], answer["who"], answer["prediction_id"]) == ("дом 🏠", "ben", None)
    assert current(serving, answer["example_id"]) == "дом 🏠"


def test_both_ways_lead_to_the_same_example(client: TestClient, serving: Serving) -> None:
    image = new_image()
    first = label_prediction(client, predict(client, image), "cat").json()
    second = label_image(client, image, "dog").json()
    assert second["example_id"] == first["example_id"]
    assert current(serving, first["example_id"]) == "dog"


@pytest.mark.parametrize("way", ["prediction", "image"])
def test_request_repeated_with_its_key_is_taken_once(client: TestClient, way: str) -> None:
    image = new_image()
    headers = {"Idempotency-Key": f"key of {way}"}

    def send() -> httpx.Response:
        if way == "image":
            return label_image(client, image, "cat", headers=headers)
        response: httpx.Response = label_prediction(client, prediction_id, "cat", headers=headers)
        return response

    prediction_id = predict(client, image)
    first, second = send(), send()
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


def test_requests_at_the_same_moment_with_one_key_are_taken_once(client: TestClient) -> None:
    image = new_image()

    def send(_i: int) -> tuple[int, int]:
        response = label_image(client, image, "cat", headers={"Idempotency-Key": "at once"})
        return response.status_code, response.json()["id"]

    answers = at_once.in_threads(6, send)
    assert sorted(status for status, _ in answers) == [200] * 5 + [201]
    assert len({event_id for _, event_id in answers}) == 1


def test_request_without_a_key_is_taken_each_time(client: TestClient) -> None:
    image = new_image()
    ids = {label_image(client, image, "cat").json()["id"] for _ in range(3)}
    assert len(ids) == 3


def test_key_of_another_label_or_image_is_refused(client: TestClient) -> None:
    image = new_image()
    headers = {"Idempotency-Key": "k"}
    label_image(client, image, "cat", headers=headers)
    for other in (
        label_image(client, image, "dog", headers=headers),
        label_image(client, new_image(), "cat", headers=headers),
        label_prediction(client, predict(client), "cat", headers=headers),
    ):
        expect.problem(other, 422, "idempotency-conflict", "'k'", "use a new key")


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_key_of_no_good_length_is_refused(client: TestClient, key: str) -> None:
    response = label_image(client, new_image(), "cat", headers={"Idempotency-Key": key})
    expect.problem(response, 422, "invalid-request", "Idempotency-Key", str(len(key)), "255")


def test_taken_back_label_gives_way_to_the_earlier_one(
    client: TestClient, serving: Serving
) -> None:
    image = new_image()
    first = label_image(client, image, "cat").json()
    second = label_image(client, image, "dog").json()
    example_id = first["example_id"]
    taken_back = client.delete(f"/v1/feedback/{second['id']}", params={"who": "ann"})
    assert taken_back.status_code == 200
    answer = taken_back.json()
    assert (answer["retracts"], answer["label"], answer["who"]) == (second["id"], None, "ann")
    assert current(serving, example_id) == "cat"
    assert client.delete(f"/v1/feedback/{second['id']}").json() == answer
    client.delete(f"/v1/feedback/{first['id']}")
    assert current(serving, example_id) is None


def test_retraction_cannot_be_taken_back(client: TestClient) -> None:
    event = label_image(client, new_image(), "cat").json()
    retraction = client.delete(f"/v1/feedback/{event['id']}").json()
    response = client.delete(f"/v1/feedback/{retraction['id']}")
    expect.problem(response, 404, "unknown-feedback", str(retraction["id"]))


@pytest.mark.parametrize("feedback_id", ["0", "-1", "999999", "9" * 30])
def test_taking_back_unknown_feedback_is_not_found(client: TestClient, feedback_id: str) -> None:
    response = client.delete(f"/v1/feedback/{feedback_id}")
    expect.problem(response, 404, "unknown-feedback", feedback_id, "send the id")


def test_taking_back_what_is_no_id_is_refused(client: TestClient) -> None:
    expect.problem(client.delete("/v1/feedback/cat"), 422, "invalid-request", "'cat'", "integer")


@pytest.mark.parametrize("prediction_id", ["0190-nope", "", "nul\x00", "ü" * 36])
def test_label_of_unknown_prediction_is_not_found(client: TestClient, prediction_id: str) -> None:
    response = label_prediction(client, prediction_id, "cat")
    expect.problem(response, 404, "unknown-prediction", "send the image itself")


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
    expect.problem(label_prediction(client, predict(client), label), 422, "invalid-label", *parts)


@pytest.mark.parametrize(("label", "parts"), BAD_LABELS)
def test_bad_label_of_an_image_is_refused(
    client: TestClient, label: str, parts: tuple[str, ...]
) -> None:
    expect.problem(label_image(client, new_image(), label), 422, "invalid-label", *parts)


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ("", ("the body",)),
        ("nonsense", ("the body", "json")),
        ("[]", ("the body",)),
        ('{"label": "cat"}', ("prediction_id",)),
        ('{"prediction_id": "x"}', ("label",)),
        ('{"prediction_id": 7, "label": "cat"}', ("prediction_id", "string")),
        ('{"prediction_id": "x", "label": null}', ("label", "string")),
        ('{"prediction_id": "x", "label": "cat", "lable": "dog"}', ("lable", "not permitted")),
        (json.dumps({"prediction_id": "x" * 37, "label": "cat"}), ("prediction_id", "36")),
        ('{"prediction_id": "x", "label": "\\ud800"}', ("the body",)),
    ],
)
def test_malformed_json_is_refused(client: TestClient, body: str, parts: tuple[str, ...]) -> None:
    response = client.post("/v1/feedback", content=body.encode(), headers=JSON)
    expect.problem(response, 422, "invalid-request", *parts, 'send {"prediction_id"')


@pytest.mark.parametrize("way", ["prediction", "image"])
@pytest.mark.parametrize(
    ("who", "part"), [("w" * 101, "101"), ("a\x00b", "control character")], ids=["long", "nul"]
)
def test_bad_who_is_refused(client: TestClient, way: str, who: str, part: str) -> None:
    send = label_image if way == "image" else label_prediction
    subject: Any = new_image() if way == "image" else predict(client)
    expect.problem(send(client, subject, "cat", fields={"who": who}), 422, "invalid-request", part)


@pytest.mark.parametrize("content_type", ["text/plain", "image/jpeg", ""])
def test_other_content_type_is_refused(client: TestClient, content_type: str) -> None:
    response = client.post("/v1/feedback", content=b"x", headers={"Content-Type": content_type})
    expect.problem(
        response,
        415,
        "unsupported-media-type",
        repr(content_type),
        "application/json",
        "multipart/form-data",
    )


def test_form_without_label_is_refused(client: TestClient) -> None:
    response = client.post("/v1/feedback", files={"image": ("a", new_image())})
    expect.problem(response, 422, "invalid-request", "`label`", "-F label=cat")


def test_form_with_unknown_field_is_refused(client: TestClient) -> None:
    response = label_image(client, new_image(), "cat", fields={"lable": "dog"})
    expect.problem(response, 422, "invalid-request", "lable", "it takes label, who")


def test_label_of_what_is_no_image_is_refused(client: TestClient) -> None:
    for image, code in ((b"nope", "undecodable-image"), (images.bomb_png(), "image-too-large")):
        expect.problem(label_image(client, image, "cat"), 422, code)


def test_refused_label_leaves_nothing(client: TestClient, serving: Serving) -> None:
    with serving.store.db.read() as conn:
        before = labels.newest_id(conn)
    label_image(client, new_image(), "")
    label_image(client, b"nope", "cat")
    label_prediction(client, "unknown", "cat")
    with serving.store.db.read() as conn:
        assert labels.newest_id(conn) == before
