"""Who did it is the name of the key, and nothing that a request says."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from core.access.roles import Role
from core.plain_text import RESERVED_NAMES
from tests.service import assert_problem
from tests.service.access_clients import Headers
from tests.service.client import label_image, label_prediction, new_image, predict

pytestmark = pytest.mark.slow  # not in `make check`

Roles = dict[Role, Headers]


def test_label_and_promotion_are_of_the_key(keyed: TestClient, as_role: Roles) -> None:
    given = label_image(keyed, new_image(), "cat", headers=as_role[Role.LABEL])
    assert given.json()["who"] == "a-label"
    promoted = keyed.put("/v1/champion", json={"version": 1}, headers=as_role[Role.ADMIN])
    assert promoted.json()["who"] == "a-admin"


def test_key_cannot_say_that_it_is_another(keyed: TestClient, as_role: Roles) -> None:
    headers, fields = as_role[Role.ADMIN], {"who": "ann"}
    label_id = label_image(keyed, new_image(), "cat", headers=headers).json()["id"]
    for refused in (
        label_image(keyed, new_image(), "cat", headers=headers, fields=fields),
        label_prediction(keyed, "x", "cat", headers=headers, fields=fields),
        keyed.delete(f"/v1/feedback/{label_id}?who=ann", headers=headers),
        keyed.put("/v1/champion", json={"version": 1, "who": "ann"}, headers=headers),
    ):
        assert_problem.problem(refused, 422, "invalid-request", "a-admin", "leave it out")
    own = {"who": "a-admin"}
    same = label_image(keyed, new_image(), "cat", headers=headers, fields=own)
    assert same.status_code == 201


@pytest.mark.parametrize("name", [*sorted(RESERVED_NAMES), "Self-Healing", " trainer "])
def test_nobody_is_the_service_itself_without_keys_either(client: TestClient, name: str) -> None:
    label_id = label_image(client, new_image(), "cat").json()["id"]
    fields = {"who": name}
    for refused in (
        label_image(client, new_image(), "cat", fields=fields),
        label_prediction(client, predict(client), "cat", fields=fields),
        client.delete(f"/v1/feedback/{label_id}", params=fields),
        client.put("/v1/champion", json={"version": 1, **fields}),
    ):
        assert_problem.problem(refused, 422, "invalid-request", "of the service itself")


def test_label_key_takes_back_its_own_labels_only(keyed: TestClient, as_role: Roles) -> None:
    own = label_image(keyed, new_image(), "cat", headers=as_role[Role.LABEL]).json()["id"]
    other = label_image(keyed, new_image(), "cat", headers=as_role[Role.TRAIN]).json()["id"]
    refused = keyed.delete(f"/v1/feedback/{other}", headers=as_role[Role.LABEL])
    assert_problem.problem(refused, 403, "role-required", "train")
    assert keyed.delete(f"/v1/feedback/{own}", headers=as_role[Role.LABEL]).status_code == 200
    assert keyed.delete(f"/v1/feedback/{other}", headers=as_role[Role.TRAIN]).status_code == 200


def test_idempotency_keys_are_of_one_key(keyed: TestClient, as_role: Roles) -> None:
    image, again = new_image(), {"Idempotency-Key": "k" * 255}
    first = label_image(keyed, image, "cat", headers=as_role[Role.LABEL] | again)
    same = label_image(keyed, image, "cat", headers=as_role[Role.LABEL] | again)
    other = label_image(keyed, new_image(), "dog", headers=as_role[Role.TRAIN] | again)
    assert (first.status_code, same.status_code, other.status_code) == (201, 200, 201)
    assert same.json() == first.json()
    conflict = label_image(keyed, image, "dog", headers=as_role[Role.LABEL] | again)
    assert_problem.problem(conflict, 422, "idempotency-conflict", "kkk")
