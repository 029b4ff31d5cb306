"""GET and DELETE /v1/lost-images."""

from __future__ import annotations

import time

import pytest
from starlette.testclient import TestClient

from core.labelling import lost_images
from core.store.blobs import sha256
from tests.service import assert_problem
from tests.service.client import label_image, new_image

pytestmark = pytest.mark.slow  # not in `make check`


def lose(client: TestClient, image: bytes) -> None:
    store = client.app.state.serving.store  # type: ignore[attr-defined]
    store.blobs.delete(sha256(image))
    lost_images.mark_lost(store, {sha256(image): "missing"}, time.time())


def test_lost_images_are_listed_page_by_page_and_erased(fresh: TestClient) -> None:
    photos = [new_image() for _ in range(3)]
    ids = [label_image(fresh, photo, "cat").json()["example_id"] for photo in photos]
    for photo in photos:
        lose(fresh, photo)
    page = fresh.get("/v1/lost-images?limit=2").json()
    assert [lost["example_id"] for lost in page["lost_images"]] == ids[:2]
    assert page["lost_images"][0]["image"] == sha256(photos[0])
    assert page["next_after"] == ids[1]
    last = fresh.get(f"/v1/lost-images?after={ids[1]}").json()
    assert ([lost["example_id"] for lost in last["lost_images"]], last["next_after"]) == (
        ids[2:],
        None,
    )
    assert fresh.get("/v1/status").json()["lost_images"] == {"count": 3, "examples": ids}
    assert "evergreen_lost_images 3.0" in fresh.get("/metrics").text
    erased = fresh.delete(f"/v1/lost-images/{ids[0]}?who=me")
    assert erased.status_code == 200
    assert len(erased.json()["retracted"]) == 1
    assert fresh.get("/v1/status").json()["labels"]["examples"] == {"cat": 2}
    again = fresh.delete(f"/v1/lost-images/{ids[0]}")
    assert_problem.problem(again, 404, "unknown-example", "is not lost")


def test_image_that_is_sent_again_leaves_the_list(fresh: TestClient) -> None:
    photo = new_image()
    label_image(fresh, photo, "cat")
    lose(fresh, photo)
    assert len(fresh.get("/v1/lost-images").json()["lost_images"]) == 1
    label_image(fresh, photo, "cat")
    assert fresh.get("/v1/lost-images").json() == {"lost_images": [], "next_after": None}


def test_bad_limits_are_refused(client: TestClient) -> None:
    for query in ("limit=0", "limit=1001", "after=-1", "after=1_0", "before=3"):
        assert client.get(f"/v1/lost-images?{query}").status_code == 422
