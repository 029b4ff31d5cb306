from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from core.errors import Overloaded
from core.labelling import labels
from core.store import schema
from service.inference.serving_process import ServingProcess
from service.traffic.admission import Admission
from tests.service import assert_problem
from tests.service.client import label_image, new_image, predict

pytestmark = pytest.mark.slow  # not in make check


def send(client: TestClient, *given: dict[str, Any], **options: Any) -> httpx.Response:
    body = {"labels": list(given), **options.pop("fields", {})}
    return client.post("/v1/feedback/batch", json=body, **options)


def example(client: TestClient, label: str = "cat") -> int:
    return int(label_image(client, new_image(), label).json()["example_id"])


def num_events(serving: ServingProcess) -> int:
    with serving.store.db.read() as conn:
        return conn.execute(select(func.count()).select_from(schema.labels)).scalar_one()


def current(serving: ServingProcess, example_id: int) -> str | None:
    with serving.store.db.read() as conn:
        return {row.example_id: row.label for row in labels.current(conn)}.get(example_id)


def test_each_label_of_a_batch_has_its_own_result(
    client: TestClient, serving: ServingProcess
) -> None:
    known, image = example(client), new_image()
    first, again = predict(client, image), predict(client, image)
    response = send(
        client,
        {"example_id": known, "label": "dog"},
        {"prediction_id": first, "label": "  cat "},
        {"prediction_id": again, "label": "CAT"},
        {"example_id": 10**9, "label": "cat"},
        {"example_id": known, "label": "a\u200bb"},
        {"prediction_id": "00000000-0000-7000-8000-000000000000", "label": "cat"},
        fields={"who": "ann"},
    )
    assert response.status_code == 200, response.text
    answer = response.json()
    results = answer["results"]
    assert [result["status"] for result in results] == ["stored"] * 2 + ["already"] + [
        "refused"
    ] * 3
    codes = [result["problem"]["code"] for result in results[3:]]
    assert codes == ["unknown-example", "invalid-label", "unknown-prediction"]
    assert results[1]["feedback_id"] == results[2]["feedback_id"] > results[0]["feedback_id"]
    assert results[1]["example_id"] == results[2]["example_id"]
    assert current(serving, known) == "dog"
    assert current(serving, results[1]["example_id"]) == "cat"
    batch = client.get("/v1/batches?limit=1").json()["batches"][0]
    assert (batch["id"], batch["kind"], batch["who"]) == (answer["batch_id"], "feedback", "ann")
    assert batch["counts"] == {"stored": 2, "already": 1, "refused": 3}


def test_label_that_is_there_already_is_not_stored_again(
    client: TestClient, serving: ServingProcess
) -> None:
    one = example(client)
    given = {"example_id": one, "label": "dog"}
    first = send(client, given, fields={"who": "ann"}).json()
    before = num_events(serving)
    second = send(client, given, fields={"who": "ann"}).json()
    assert second["batch_id"] is None
    (result,) = second["results"]
    assert result["status"] == "already"
    assert result["feedback_id"] == first["results"][0]["feedback_id"]
    assert num_events(serving) == before
    other = send(client, given, fields={"who": "ben"}).json()
    assert other["results"][0]["status"] == "stored", "an opinion of somebody else"


def test_batch_repeated_with_its_key_gets_the_same_results(
    client: TestClient, serving: ServingProcess
) -> None:
    one, two = example(client), example(client)
    given = [
        {"example_id": one, "label": "dog"},
        {"prediction_id": predict(client), "label": "fox"},
        {"example_id": two, "label": " "},
    ]
    options: dict[str, Any] = {"headers": {"Idempotency-Key": "k" * 255}}
    first = send(client, *given, **options)
    label_image(client, new_image(), "dog")
    send(client, {"example_id": one, "label": "cat"})
    before = num_events(serving)
    second = send(client, *given, **options)
    assert (second.status_code, second.json()) == (200, first.json())
    assert num_events(serving) == before
    assert current(serving, one) == "cat"
    other = send(client, {"example_id": two, "label": "dog"}, **options)
    assert_problem.problem(other, 422, "idempotency-conflict", "use a new key")


def test_labels_that_were_refused_are_stored_when_the_batch_is_repeated(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [{"prediction_id": predict(client), "label": "fox"} for _ in range(3)]
    given.append({"example_id": example(client), "label": "fox"})
    options: dict[str, Any] = {
        "headers": {"Idempotency-Key": "again", "X-Request-Timeout-Ms": "200"}
    }
    with monkeypatch.context() as busy:
        busy.setattr(Admission, "check", _refuse)
        first = send(client, *given, **options).json()
    statuses = [result["status"] for result in first["results"]]
    assert statuses == ["refused"] * 3 + ["stored"]
    assert first["results"][0]["problem"]["code"] in ("overloaded", "deadline-exceeded")
    options["headers"]["X-Request-Timeout-Ms"] = "20000"
    second = send(client, *given, **options).json()
    assert [result["status"] for result in second["results"]] == ["stored"] * 4
    assert second["batch_id"] == first["batch_id"]
    assert second["results"][3] == first["results"][3]


def _refuse(*_: object) -> None:
    raise Overloaded("busy")


def test_batch_is_undone_as_one(client: TestClient, serving: ServingProcess) -> None:
    one, two = example(client), example(client)
    given = [{"example_id": each, "label": "dog"} for each in (one, two)]
    given.append({"prediction_id": predict(client), "label": "dog"})
    stored = send(client, *given).json()
    label = {"example_id": two, "label": "fox"}
    assert client.post("/v1/feedback", json=label).status_code == 201
    url = f"/v1/batches/{stored['batch_id']}"
    undone = client.delete(url)
    assert undone.json() == {
        "batch_id": stored["batch_id"],
        "undone": True,
        "retracted": 3,
        "restored": 0,
        "kept": 1,
    }
    assert client.delete(url).json() == undone.json()
    assert [current(serving, each) for each in (one, two)] == ["cat", "fox"]
    assert current(serving, stored["results"][2]["example_id"]) is None
    assert client.get("/v1/batches?limit=1").json()["batches"][0]["undone_at"] is not None
    assert_problem.problem(client.delete("/v1/batches/999999"), 404, "unknown-batch", "999999")


def test_first_four_new_images_of_a_class_train(
    client: TestClient, serving: ServingProcess
) -> None:
    given = [{"prediction_id": predict(client), "label": "owl"} for _ in range(24)]
    results = send(client, *given).json()["results"]
    ids = [result["example_id"] for result in results]
    assert len(set(ids)) == 24
    columns = schema.examples.c
    query = select(columns.is_held_out).where(columns.id.in_(ids)).order_by(columns.id)
    with serving.store.db.read() as conn:
        sides = list(conn.scalars(query))
    assert not any(sides[:4])
    assert any(sides[4:])


def test_example_is_labelled_again_by_its_id(client: TestClient, serving: ServingProcess) -> None:
    one = example(client)
    response = client.post("/v1/feedback", json={"example_id": one, "label": "Dog"})
    assert response.status_code == 201
    assert (response.json()["example_id"], response.json()["prediction_id"]) == (one, None)
    assert current(serving, one) in ("Dog", "dog")
    missing = client.post("/v1/feedback", json={"example_id": 10**9, "label": "dog"})
    assert_problem.problem(missing, 404, "unknown-example", "does not exist")
    client.delete(f"/v1/examples/{one}")
    erased = client.post("/v1/feedback", json={"example_id": one, "label": "dog"})
    assert_problem.problem(erased, 404, "unknown-example", "was erased")
    (result,) = send(client, {"example_id": one, "label": "dog"}).json()["results"]
    assert result["problem"]["code"] == "unknown-example"


@pytest.mark.parametrize(
    "body",
    [
        {"labels": []},
        {"labels": [{"label": "cat"}]},
        {"labels": [{"label": "cat", "example_id": 1, "prediction_id": "0" * 32}]},
        {"labels": [{"example_id": True, "label": "cat"}]},
        {"labels": [{"example_id": 0, "label": "cat"}]},
        {"labels": [{"example_id": 2**63, "label": "cat"}]},
        {"labels": [{"example_id": 1, "label": "cat", "who": "ann"}]},
        {"labels": [{"example_id": 1, "label": "cat"}] * 501},
        {"labels": [{"example_id": 1, "label": "cat"}], "more": 1},
    ],
)
def test_batch_of_another_form_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    response = client.post("/v1/feedback/batch", json=body)
    assert_problem.problem(response, 422, "invalid-request")


@pytest.mark.parametrize(
    "body",
    [
        {"label": "cat"},
        {"label": "cat", "example_id": 1, "prediction_id": "0" * 32},
        {"label": "cat", "example_id": None},
    ],
)
def test_single_label_needs_one_of_the_two_ids(client: TestClient, body: dict[str, Any]) -> None:
    response = client.post("/v1/feedback", json=body)
    assert_problem.problem(response, 422, "invalid-request", "prediction_id or example_id")


@pytest.mark.parametrize("method", ["DELETE", "GET", "OPTIONS", "PUT"])
def test_batch_is_no_id_of_a_label(client: TestClient, method: str) -> None:
    response = client.request(method, "/v1/feedback/batch", content=b"{}")
    assert_problem.problem(response, 405, "method-not-allowed")
    assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize("before", [-(10**40), 0, 10**40])
def test_batches_before_any_number_are_listed(client: TestClient, before: int) -> None:
    send(client, {"example_id": example(client), "label": "dog"})
    found = client.get(f"/v1/batches?before={before}")
    assert found.status_code == 200
    assert bool(found.json()["batches"]) == (before > 0)


@pytest.mark.parametrize(("length", "status"), [(600_000, 422), (1_000_001, 413)])
def test_body_of_a_batch_may_be_longer_than_others(
    client: TestClient, length: int, status: int
) -> None:
    # Most of it is a string: what is beside the strings has the limit of the others.
    body = b'{"labels": [], "who": "%s"}' % (b"w" * (length - 25))
    assert len(body) == length
    headers = {"Content-Type": "application/json"}
    response = client.post("/v1/feedback/batch", content=body, headers=headers)
    assert response.status_code == status
    other = client.post("/v1/feedback", content=body, headers=headers)
    assert other.status_code == 413
