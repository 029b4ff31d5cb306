from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from core.access.roles import Role
from core.settings import Settings
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.access_clients import Headers, add_keys
from tests.service.client import label_image, new_image
from tests.service.conftest import client_of

pytestmark = pytest.mark.slow  # not in make check


def post(client: TestClient, change: str, **body: Any) -> httpx.Response:
    return client.post(f"/v1/classes/{change}", json=body)


def listed(client: TestClient) -> dict[str, int]:
    found = client.get("/v1/classes").json()["classes"]
    return {each["name"]: each["examples"] for each in found}


def test_classes_are_listed_with_what_the_champion_knows(trained_client: TestClient) -> None:
    label_image(trained_client, new_image(), "Zebra")
    label_image(trained_client, new_image(), "None of these")
    answer = trained_client.get("/v1/classes").json()
    assert [each["name"] for each in answer["classes"]] == ["Zebra", "blue", "red"]
    zebra, blue, _ = answer["classes"]
    assert zebra["last_label_at"] is not None
    assert (zebra["examples"], zebra["accuracy"], zebra["in_champion"]) == (1, None, False)
    assert (blue["examples"], blue["in_champion"]) == (8, True)
    assert blue["judged"] > 0
    assert 0 <= blue["accuracy"] <= 1
    assert answer["none_of_these"] == {"name": "none of these", "examples": 1}
    assert answer["can_learn"] is True
    assert answer["next_after"] is None
    status = trained_client.get("/v1/status").json()["labels"]["examples"]
    assert "none of these" not in status


def test_list_goes_on_after_a_name_and_is_not_sent_twice(trained_client: TestClient) -> None:
    names: list[str] = []
    query: dict[str, Any] = {"limit": 1}
    while True:
        page = trained_client.get("/v1/classes", params=query).json()
        names += [each["name"] for each in page["classes"]]
        if page["next_after"] is None:
            break
        query["after"] = page["next_after"]
    assert names == list(listed(trained_client))
    first = trained_client.get("/v1/classes")
    have = {"If-None-Match": first.headers["ETag"]}
    assert trained_client.get("/v1/classes", headers=have).status_code == 304
    label_image(trained_client, new_image(), "red")
    assert trained_client.get("/v1/classes", headers=have).status_code == 200
    assert trained_client.get("/v1/classes", params={"after": "\0"}).json()["classes"] == []
    assert trained_client.get("/v1/classes?limit=1001").status_code == 422


def test_empty_home_has_no_class(fresh: TestClient) -> None:
    answer = fresh.get("/v1/classes").json()
    assert (answer["classes"], answer["can_learn"]) == ([], False)
    assert fresh.get("/v1/batches").json() == {"batches": [], "next_before": None}


def test_class_is_renamed_merged_deleted_and_all_is_undone(fresh: TestClient) -> None:
    odd = '<img src=x onerror="alert(1)">/?#'
    for name in ("cat", "cat", "dog"):
        label_image(fresh, new_image(), name)
    renamed = post(fresh, "rename", **{"from": "CAT", "to": odd})
    assert renamed.json() == {"batch_id": 1, "changed": 2, "name": odd}
    merged = post(fresh, "merge", **{"from": [odd, "dog"], "to": "animal"})
    assert merged.json() == {"batch_id": 2, "changed": 3, "name": "animal"}
    deleted = post(fresh, "delete", name="animal")
    assert deleted.json() == {"batch_id": 3, "changed": 3, "name": None}
    assert listed(fresh) == {}
    found = fresh.get("/v1/batches").json()["batches"]
    assert [(each["kind"], each["from_classes"], each["to_class"]) for each in found] == [
        ("delete", ["animal"], None),
        ("merge", [odd, "dog"], "animal"),
        ("rename", ["cat"], odd),
    ]
    assert fresh.delete("/v1/batches/3").json()["restored"] == 3
    assert listed(fresh) == {"animal": 3}
    assert fresh.delete("/v1/batches/2").json()["retracted"] == 3
    assert listed(fresh) == {odd: 2, "dog": 1}
    assert fresh.delete("/v1/batches/1").json()["retracted"] == 2
    assert listed(fresh) == {"cat": 2, "dog": 1}


def test_change_that_cannot_be_is_a_clear_problem(fresh: TestClient) -> None:
    for name in ("cat", "dog", "none of these"):
        label_image(fresh, new_image(), name)
    taken = post(fresh, "rename", **{"from": "cat", "to": "Dog"})
    assert_problem.problem(taken, 409, "class-taken", "'Dog'", "/v1/classes/merge")
    unknown = post(fresh, "delete", name="cow")
    assert_problem.problem(unknown, 404, "unknown-class", "'cow'", "GET /v1/classes")
    none = post(fresh, "merge", **{"from": ["none of these"], "to": "cat"})
    assert_problem.problem(none, 422, "invalid-request", "is no class")
    for body in ({"from": "cat"}, {"from": "cat", "to": "x", "why": "y"}, {"name": "cat"}):
        assert post(fresh, "rename", **body).status_code == 422
    for names in ([], ["cat"] * 101):
        assert post(fresh, "merge", **{"from": names, "to": "x"}).status_code == 422
    assert listed(fresh) == {"cat": 1, "dog": 1}


@pytest.fixture
def keyed(settings: Settings, fresh: TestClient) -> tuple[TestClient, dict[Role, Headers]]:
    serving: ServingProcess = fresh.app.state.serving  # type: ignore[attr-defined]
    headers = add_keys(serving)
    return client_of(serving), headers


def test_key_of_role_label_undoes_its_own_batches_only(
    keyed: tuple[TestClient, dict[Role, Headers]],
) -> None:
    client, headers = keyed
    label, train = headers[Role.LABEL], headers[Role.TRAIN]
    example = label_image(client, new_image(), "cat", headers=train).json()["example_id"]
    given = {"labels": [{"example_id": example, "label": "dog"}]}
    own, other = (
        client.post("/v1/feedback/batch", json=given, headers=each).json()["batch_id"]
        for each in (label, train)
    )
    refused = client.delete(f"/v1/batches/{other}", headers=label)
    assert_problem.problem(refused, 403, "role-required", "role train")
    assert client.delete(f"/v1/batches/{own}", headers=label).status_code == 200
    assert client.delete(f"/v1/batches/{other}", headers=train).status_code == 200
    body = {"from": "cat", "to": "x"}
    refused = client.post("/v1/classes/rename", json=body, headers=label)
    assert_problem.problem(refused, 403, "role-required")
    assert client.get("/v1/classes", headers=label).status_code == 200
    assert client.post("/v1/classes/rename", json=body, headers=train).status_code == 200
