"""Images of predictions: which are swept, and which never."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from core.audit import SERVICE
from core.errors import ImageNotKept, StoreError
from core.inputs.kind import Limits
from core.inputs.pixels.kind import PIXELS
from core.labelling import intake, retractions
from core.labelling.intake import LabelRequest
from core.retention import doomed, images
from core.retention.policy import CapturePolicy, RetentionPolicy
from core.store import schema
from core.store.blobs import LocalBlobs, sha256
from core.store.store import Store
from tests.core.retention.swept_store import (
    NOW,
    get,
    image,
    label,
    label_by_id,
    predict,
    sweep,
    sweeper_of,
)


def embedding_of(store: Store, prediction_id: str) -> bytes | None:
    with store.db.read() as conn:
        columns = schema.predictions.c
        query = select(columns.embedding).where(columns.id == prediction_id)
        embedding: bytes | None = conn.execute(query).scalar_one()
    return embedding


def test_old_image_goes_and_its_row_says_so(store: Store) -> None:
    old, new = image(1), image(2)
    direction = {"embedding": b"\x7f\x01"}
    old_id, new_id = predict(store, old, 31, **direction), predict(store, new, 29, **direction)
    sweep(store)
    assert (embedding_of(store, old_id), embedding_of(store, new_id)) == (None, b"\x7f\x01")
    assert not store.blobs.has(sha256(old))
    row = get(store, old_id)
    assert row is not None
    assert (row.kept_bytes, row.capture) == (None, "swept")
    with pytest.raises(ImageNotKept, match=r"it was swept.*send the input itself"):
        label_by_id(store, old_id)
    assert store.blobs.get(sha256(new)) == new
    label_by_id(store, new_id)


def test_labelled_image_stays_and_can_be_labelled_again(store: Store) -> None:
    content = image(1)
    prediction_id = predict(store, content, 300, embedding=b"\x7f")
    label(store, content)
    sweep(store)
    assert embedding_of(store, prediction_id) is None
    assert store.blobs.get(sha256(content)) == content
    label_by_id(store, prediction_id)


def test_image_whose_label_was_retracted_stays(store: Store) -> None:
    content = image(1)
    predict(store, content, 400)
    label(store, content)
    retractions.retract(store, 1, who="ann", now=NOW)
    sweep(store)
    assert store.blobs.has(sha256(content))


def test_image_stays_for_a_later_prediction_of_the_same_bytes(store: Store) -> None:
    content = image(1)
    predict(store, content, 400)
    later = predict(store, content, 1)
    sweep(store)
    assert store.blobs.has(sha256(content))
    sweep(store, now=NOW + 30 * 86_400)
    assert not store.blobs.has(sha256(content))
    assert get(store, later).capture == "swept"


def test_oldest_images_go_beyond_the_size_and_copies_count_once(store: Store) -> None:
    contents = [image(seed) for seed in range(10)]
    for days_ago, content in enumerate(contents):
        predict(store, content, days_ago)
        predict(store, content, days_ago + 0.5)
    room_for_6 = (sum(map(len, contents[:6])) + 1) / 1e9
    sweep(store, CapturePolicy(max_gb=room_for_6))
    kept = [store.blobs.has(sha256(content)) for content in contents]
    assert kept == [True] * 6 + [False] * 4


def test_labelled_images_do_not_count_for_the_size(store: Store) -> None:
    labelled, other = image(1), image(2)
    predict(store, labelled)
    label(store, labelled)
    predict(store, other, 1)
    sweep(store, CapturePolicy(max_gb=(len(other) + 1) / 1e9))
    assert store.blobs.has(sha256(other))


def test_without_limits_nothing_goes(store: Store) -> None:
    predict(store, image(1), 5000)
    sweep(store, CapturePolicy(max_gb=0, max_days=0), RetentionPolicy(prediction_days=0))
    assert store.blobs.has(sha256(image(1)))


def test_images_of_an_older_release_are_measured_and_go_too(store: Store) -> None:
    young = predict(store, image(1), 1, kept_bytes=0, capture=None)
    lost = predict(store, image(2), 1, kept_bytes=0, capture=None)
    store.blobs.delete(sha256(image(2)))
    predict(store, image(3), 31, kept_bytes=0, capture=None)
    sweep(store)
    assert get(store, young).kept_bytes == len(image(1))
    assert get(store, lost).kept_bytes is None
    assert not store.blobs.has(sha256(image(3)))


def test_crash_between_the_row_and_the_blob_leaves_it_to_the_next_sweep(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(store, image(1), 31)

    def killed(*_: object) -> None:
        raise StoreError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(LocalBlobs, "delete", killed)
        with pytest.raises(StoreError):
            sweep(store)
    assert store.blobs.has(sha256(image(1)))
    sweep(store)
    assert not store.blobs.has(sha256(image(1)))


def test_sweep_takes_little_at_a_time(sqlite_store: Store) -> None:
    for seed in range(40):
        predict(sqlite_store, image(seed), 31)
    pieces = [swept.num_items for swept in sweep(sqlite_store) if swept.kind == "images"]
    assert sum(pieces) == 40
    assert max(pieces) <= 32


def test_plan_says_what_goes_and_why_and_deletes_nothing(store: Store) -> None:
    predict(store, image(1), 31)
    for seed in (2, 3):
        predict(store, image(seed), seed)
    room_for_1 = (len(image(2)) + 1) / 1e9
    planned = sweeper_of(store, CapturePolicy(max_gb=room_for_1)).plan(NOW)
    assert [(item.kind, item.num_items, item.num_bytes, item.why) for item in planned] == [
        ("images", 1, len(image(1)), "max_days = 30"),
        ("images", 1, len(image(3)), f"max_gb = {room_for_1:g}"),
    ]
    assert all(store.blobs.has(sha256(image(seed))) for seed in (1, 2, 3))


def _label_image(store: Store) -> None:
    intake.label_image(store, image(1), LabelRequest("cat"), Limits(), NOW)


def _label_by_id(store: Store) -> None:
    label_by_id(store, predict(store, image(1), 0.5, kept_bytes=None))


@pytest.mark.parametrize("label_it", [_label_image, _label_by_id])
def test_label_that_stores_the_image_just_before_it_is_deleted_keeps_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, label_it: Callable[[Store], None]
) -> None:
    """The worst moment: the label has stored the blob and not yet the row."""
    predict(store, image(1), 31)
    images.release(store, NOW - 1)
    put = LocalBlobs.put
    deleted: list[Any] = []

    def put_then_swept(*args: Any, **options: Any) -> str:
        digest = put(*args, **options)
        if options.get("durable", True) and not deleted:
            deleted.append(doomed.delete_images(store, NOW))
        return digest

    monkeypatch.setattr(LocalBlobs, "put", put_then_swept)
    label_it(store)
    assert deleted == [(1, len(image(1)))]
    assert store.blobs.get(sha256(image(1))) == image(1)
    sweep(store)
    assert store.blobs.has(sha256(image(1)))


def test_image_that_is_stored_again_is_swept_again(store: Store) -> None:
    for days in (0, 31):
        predict(store, image(1), 31 - days)
        sweep(store, now=NOW + days * 86_400)
        assert not store.blobs.has(sha256(image(1)))


def test_import_whose_image_is_swept_before_its_label_is_refused_whole(sqlite_store: Store) -> None:
    store = sqlite_store
    predict(store, image(1), 31)
    requests = [
        (intake.prepare(content, Limits(), "import", PIXELS), LabelRequest("cat"))
        for content in (image(2), image(1))
    ]
    store.blobs.put(image(2))
    sweep(store)
    with pytest.raises(StoreError, match="swept while it was labelled"):
        intake.label_prepared(store, requests, NOW, SERVICE)
    store.blobs.put(image(1))
    assert len(intake.label_prepared(store, requests, NOW, SERVICE)) == 2
