"""GET /v1/events, and that each route that changes something, or hands out data, is in it."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from core import audit
from core.access.roles import Role
from core.audit import TRAINER
from core.errors import StoreError
from core.settings import Settings
from service.api.app import create_app
from service.inference.serving_process import ServingProcess
from tests.core.exchange.archives import packed
from tests.service.access_clients import Headers, add_keys
from tests.service.api.test_lost_images import lose
from tests.service.api.uploads import importer_stopped, upload
from tests.service.client import label_image, label_prediction, new_image, predict
from tests.service.conftest import client_of

pytestmark = pytest.mark.slow  # not in `make check`

# A prediction is no event, and pays nothing.
PREDICTIONS = {
    ("POST", "/v1/predict"),
    ("POST", "/v2/models/{model}/infer"),
    ("POST", "/v2/models/{model}/versions/{version}/infer"),
}
READS = {
    ("GET", "/v1/export"): "labels.exported",
    ("GET", "/v1/versions/{number}/model.onnx"): "model.downloaded",
    ("GET", "/v1/predictions/{prediction_id}"): "prediction.read",
    ("GET", "/v1/examples/{example_id}"): "example.read",
    ("GET", "/v1/examples"): "examples.read",
    ("GET", "/v1/examples/{example_id}/image"): "image.read",
    ("GET", "/v1/predictions"): "predictions.read",
    ("GET", "/v1/predictions/{prediction_id}/image"): "image.read",
    ("GET", "/v1/versions/{number}/examples"): "examples.read",
    ("GET", "/v1/versions/{a}/diff/{b}"): "versions.compared",
    ("GET", "/v1/queue"): "queue.read",
    ("GET", "/v1/neighbours"): "neighbours.read",
    ("GET", "/v1/map"): "examples.read",
}
CHANGES = {
    ("POST", "/v1/feedback"): "label.given",
    ("DELETE", "/v1/feedback/{feedback_id}"): "label.retracted",
    ("POST", "/v1/imports"): "import.requested",
    ("DELETE", "/v1/imports/{import_id}"): "import.cancelled",
    ("POST", "/v1/feedback/batch"): "labels.given",
    ("DELETE", "/v1/batches/{batch_id}"): "batch.undone",
    ("POST", "/v1/classes/rename"): "class.renamed",
    ("POST", "/v1/classes/merge"): "class.merged",
    ("POST", "/v1/classes/delete"): "class.deleted",
    ("POST", "/v1/retrain"): "run.requested",
    ("DELETE", "/v1/runs/{run_id}"): "run.cancelled",
    ("PUT", "/v1/champion"): "promotion.requested",
    ("DELETE", "/v1/lost-images/{example_id}"): "example.erased",
    ("DELETE", "/v1/examples/{example_id}"): "example.erased",
    ("DELETE", "/v1/predictions/{prediction_id}"): "example.erased",
    ("POST", "/v1/session"): "session.begun",
    ("DELETE", "/v1/session"): "session.ended",
}
SAME = {"Sec-Fetch-Site": "same-origin"}
PHOTO = new_image()


@pytest.fixture(scope="module")
def as_role(trained_serving: ServingProcess) -> dict[Role, Headers]:
    return add_keys(trained_serving)


@pytest.fixture(scope="module")
def admin(trained_serving: ServingProcess, as_role: dict[Role, Headers]) -> TestClient:
    client = client_of(trained_serving)
    client.headers.update(as_role[Role.ADMIN])
    client.app.state.serving.key_ring.renew().result(5)  # type: ignore[attr-defined]
    return client


def call(admin: TestClient, method: str, path: str) -> Any:
    """Make one call of the route that succeeds, and what has to come before it."""
    key = admin.headers["Authorization"].removeprefix("Bearer ")
    match method, path:
        case "POST", "/v1/feedback":
            return label_image(admin, PHOTO, "red")
        case "DELETE", "/v1/feedback/{feedback_id}":
            given = label_image(admin, new_image(), "red").json()
            return admin.delete(f"/v1/feedback/{given['id']}")
        case "POST", "/v1/feedback/batch":
            return batch(admin)
        case "DELETE", "/v1/batches/{batch_id}":
            return admin.delete(f"/v1/batches/{batch(admin).json()['batch_id']}")
        case "POST", "/v1/classes/rename":
            label_image(admin, new_image(), "old name")
            return admin.post(path, json={"from": "old name", "to": "new name"})
        case "POST", "/v1/classes/merge":
            label_image(admin, new_image(), "part")
            return admin.post(path, json={"from": ["part"], "to": "whole"})
        case "POST", "/v1/classes/delete":
            label_image(admin, new_image(), "gone")
            return admin.post(path, json={"name": "gone"})
        case "POST", "/v1/retrain":
            return admin.post("/v1/retrain")
        case "DELETE", "/v1/runs/{run_id}":
            run = admin.post("/v1/retrain").json()
            return admin.delete(f"/v1/runs/{run['id']}")
        case "PUT", "/v1/champion":
            return admin.put("/v1/champion", json={"version": 2})
        case "DELETE", "/v1/lost-images/{example_id}":
            photo = new_image()
            example = label_image(admin, photo, "red").json()["example_id"]
            lose(admin, photo)
            return admin.delete(f"/v1/lost-images/{example}")
        case "POST", "/v1/imports":
            return upload(admin, packed({"cat/1.png": new_image()}))
        case "DELETE", "/v1/imports/{import_id}":
            with importer_stopped(admin.app.state.serving):  # type: ignore[attr-defined]
                asked = upload(admin, packed({"cat/1.png": new_image()})).json()
                return admin.delete(f"/v1/imports/{asked['id']}")
        case "POST", "/v1/session":
            return admin.post("/v1/session", json={"key": key}, headers=SAME)
        case "DELETE", "/v1/session":
            admin.post("/v1/session", json={"key": key}, headers=SAME)
            return admin.delete("/v1/session", headers=SAME)
        case "DELETE", "/v1/examples/{example_id}":
            example = label_image(admin, new_image(), "red").json()["example_id"]
            return admin.delete(f"/v1/examples/{example}")
        case "DELETE", "/v1/predictions/{prediction_id}":
            return admin.delete(f"/v1/predictions/{predict(admin)}")
        case "GET", "/v1/predictions/{prediction_id}":
            return admin.get(f"/v1/predictions/{predict(admin)}")
        case "GET", "/v1/predictions/{prediction_id}/image":
            return admin.get(f"/v1/predictions/{predict(admin)}/image?size=thumbnail")
        case "GET", "/v1/examples/{example_id}" | "/v1/examples/{example_id}/image":
            return admin.get(path.format(example_id=1))
        case "GET", "/v1/neighbours":
            return admin.get("/v1/neighbours?example=1")
        case _:
            return admin.get(path.format(number=2, a=1, b=2))


def batch(admin: TestClient) -> Any:
    example = label_image(admin, new_image(), "red").json()["example_id"]
    body = {"labels": [{"example_id": example, "label": "blue"}]}
    return admin.post("/v1/feedback/batch", json=body)


def events(admin: TestClient, **query: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = admin.get("/v1/events", params=query).json()["events"]
    return found


def test_every_route_that_changes_something_is_in_the_table() -> None:
    paths = create_app(Settings()).openapi()["paths"]
    routes = {(method.upper(), path) for path, item in paths.items() for method in item}
    assert {route for route in routes if route[0] != "GET"} == CHANGES.keys() | PREDICTIONS
    assert READS.keys() <= routes


@pytest.mark.parametrize(("route", "action"), [*(CHANGES | READS).items()])
def test_call_is_an_event_of_the_key_and_the_request(
    admin: TestClient, route: tuple[str, str], action: str
) -> None:
    last = events(admin, limit=1)[0]["id"]
    response = call(admin, *route)
    assert response.status_code < 300, response.text
    new = events(admin, after=last, action=action)
    assert [event["request_id"] for event in new] == [response.headers["X-Request-Id"]]
    assert new[0]["who"] == "a-admin"
    assert admin.headers["Authorization"].startswith(f"Bearer eg_{new[0]['key_id']}_")


def test_prediction_is_no_event(admin: TestClient) -> None:
    last = events(admin, limit=1)[0]["id"]
    predict(admin)
    assert events(admin, after=last) == []


def test_what_fails_or_changes_nothing_is_no_event(admin: TestClient) -> None:
    model = admin.get("/v1/versions/2/model.onnx")
    last = events(admin, limit=1)[0]["id"]
    have = {"If-None-Match": model.headers["ETag"]}
    assert admin.get("/v1/versions/2/model.onnx", headers=have).status_code == 304
    assert label_prediction(admin, "0", "red").status_code == 404
    assert admin.post("/v1/session", json={"key": "eg_no"}, headers=SAME).status_code == 401
    assert client_of_nobody(admin).delete("/v1/session", headers=SAME).status_code == 204
    assert events(admin, after=last) == []


def test_sign_out_without_the_database_deletes_the_cookie(
    admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise StoreError("away")

    key = admin.headers["Authorization"].removeprefix("Bearer ")
    monkeypatch.setattr(audit, "record", unavailable)
    assert admin.post("/v1/session", json={"key": key}, headers=SAME).status_code == 503
    monkeypatch.undo()
    assert admin.post("/v1/session", json={"key": key}, headers=SAME).status_code == 200
    monkeypatch.setattr(audit, "record", unavailable)
    ended = admin.delete("/v1/session", headers=SAME)
    assert ended.status_code == 204
    assert "Max-Age=0" in ended.headers["Set-Cookie"]


def test_read_that_cannot_be_recorded_is_refused(
    admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise StoreError("away")

    monkeypatch.setattr(audit, "record", unavailable)
    assert admin.get("/v1/versions/2/model.onnx").status_code == 503
    assert admin.get("/v1/examples/1").status_code == 503


def client_of_nobody(admin: TestClient) -> TestClient:
    return client_of(admin.app.state.serving)  # type: ignore[attr-defined]


def test_label_names_who_its_client_says_where_nobody_is_asked(fresh: TestClient) -> None:
    label_image(fresh, new_image(), "red", fields={"who": "ann"})
    (event,) = events(fresh, action="label.given")
    assert (event["who"], event["key_id"]) == ("ann", None)
    first = events(fresh, action="version.published")[0]
    assert (first["who"], first["request_id"]) == ("evergreen", None)
    assert events(fresh, who=TRAINER.who) == []


def test_pages_lead_to_the_first_event(admin: TestClient) -> None:
    seen: list[int] = []
    query: dict[str, Any] = {"limit": 7}
    while True:
        page = admin.get("/v1/events", params=query).json()
        seen += [event["id"] for event in page["events"]]
        if page["next_before"] is None:
            break
        query["before"] = page["next_before"]
    assert seen == sorted(set(seen), reverse=True)
    assert seen[-1] == 1
    assert admin.get("/v1/events?after=-1").status_code == 422


def test_only_an_admin_reads_them(admin: TestClient, as_role: dict[Role, Headers]) -> None:
    assert admin.get("/v1/events", headers=as_role[Role.TRAIN]).status_code == 403
