from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from core.labelling import intake, labels
from core.labelling.examples import NewExample
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.client import label_image, label_prediction, new_image, predict
from tests.support import concurrency


def current(serving: ServingProcess, example_id: int) -> str | None:
    with serving.store.db.read() as conn:
        found = {row.example_id: row.label for row in labels.current(conn)}
    return found.get(example_id)


def test_label_by_prediction_id_is_stored(client: TestClient, serving: ServingProcess) -> None:
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


def test_label_by_image_is_stored(client: TestClient, serving: ServingProcess) -> None:
    response = label_image(client, new_image(), "дом 🏠", fields={"who": "ben"})
    assert response.status_code == 201
    answer = response.json()
    assert (answer["label"], answer["who"], answer["prediction_id"]) == ("дом 🏠", "ben", None)
    assert current(serving, answer["example_id"]) == "дом 🏠"


def test_both_ways_lead_to_the_same_example(client: TestClient, serving: ServingProcess) -> None:
    image = new_image()
    first = label_prediction(client, predict(client, image), "cat").json()
    second = label_image(client, image, "dog").json()
    assert second["example_id"] == first["example_id"]
    assert current(serving, first["example_id"]) == "dog"


def test_response_names_the_stored_spelling(client: TestClient) -> None:
    assert label_image(client, new_image(), "Disc").json()["label"] == "Disc"
    assert label_prediction(client, predict(client), "disc").json()["label"] == "Disc"


def test_invisible_character_is_refused_by_name(client: TestClient) -> None:
    response = label_image(client, new_image(), "circle\u200b")
    named = ("U+200B ZERO WIDTH SPACE", "type the label anew")
    assert_problem.problem(response, 422, "invalid-label", *named)


@pytest.mark.parametrize("way", ["prediction", "image"])
def test_request_repeated_with_its_key_is_stored_once(client: TestClient, way: str) -> None:
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


def test_concurrent_requests_with_one_key_are_stored_once(client: TestClient) -> None:
    image = new_image()

    def send(_i: int) -> tuple[int, int]:
        response = label_image(client, image, "cat", headers={"Idempotency-Key": "at once"})
        return response.status_code, response.json()["id"]

    answers = concurrency.in_threads(6, send)
    assert sorted(status for status, _ in answers) == [200] * 5 + [201]
    assert len({event_id for _, event_id in answers}) == 1


def test_request_without_a_key_is_stored_each_time(client: TestClient) -> None:
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
        assert_problem.problem(other, 422, "idempotency-conflict", "'k'", "use a new key")


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_key_of_a_wrong_length_is_refused(client: TestClient, key: str) -> None:
    response = label_image(client, new_image(), "cat", headers={"Idempotency-Key": key})
    assert_problem.problem(
        response, 422, "invalid-request", "Idempotency-Key", str(len(key)), "255"
    )


def test_retracted_label_gives_way_to_the_earlier_one(
    client: TestClient, serving: ServingProcess
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


def test_retraction_cannot_be_retracted(client: TestClient) -> None:
    event = label_image(client, new_image(), "cat").json()
    retraction = client.delete(f"/v1/feedback/{event['id']}").json()
    response = client.delete(f"/v1/feedback/{retraction['id']}")
    assert_problem.problem(response, 404, "unknown-feedback", str(retraction["id"]))


@pytest.mark.parametrize("feedback_id", ["0", "-1", "999999", "9" * 30])
def test_retracting_unknown_feedback_is_not_found(client: TestClient, feedback_id: str) -> None:
    response = client.delete(f"/v1/feedback/{feedback_id}")
    assert_problem.problem(response, 404, "unknown-feedback", feedback_id, "send the id")


def test_retracting_by_what_is_no_id_is_refused(client: TestClient) -> None:
    assert_problem.problem(
        client.delete("/v1/feedback/cat"), 422, "invalid-request", "'cat'", "integer"
    )


@pytest.mark.parametrize("way", ["image", "prediction"])
def test_images_of_labels_are_decoded_no_more_at_once_than_those_of_predictions(
    client: TestClient, serving: ServingProcess, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    prepare, counting = intake.prepare, threading.Lock()
    num_now, most = 0, 0

    def counted(*args: Any) -> NewExample:
        nonlocal num_now, most
        with counting:
            num_now += 1
            most = max(most, num_now)
        try:
            return prepare(*args)
        finally:
            with counting:
                num_now -= 1

    monkeypatch.setattr(intake, "prepare", counted)
    images = [new_image() for _ in range(12)]
    predicted = [predict(client, image) for image in images]

    def label(i: int) -> int:
        if way == "image":
            return label_image(client, images[i], "cat").status_code
        return label_prediction(client, predicted[i], "cat").status_code

    answers = concurrency.in_threads(12, label)
    assert answers == [201] * 12
    assert 1 <= most <= serving.predictor.max_parallel
    assert serving.admission.in_flight == 0


def test_worker_that_is_full_refuses_images_of_labels(
    client: TestClient, serving: ServingProcess
) -> None:
    image, new, known = new_image(), predict(client), predict(client)
    label_prediction(client, known, "cat")
    with serving.admission.reserve(num_images=serving.settings.max_in_flight):
        assert_problem.problem(label_image(client, image, "cat"), 503, "overloaded", "try again")
        assert_problem.problem(label_prediction(client, new, "cat"), 503, "overloaded", "try again")
        # Its image is not decoded again.
        assert label_prediction(client, known, "dog").status_code == 201
    assert label_image(client, image, "cat").status_code == 201
    assert label_prediction(client, new, "cat").status_code == 201
    assert serving.admission.in_flight == 0
