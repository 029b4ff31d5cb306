"""Batches hold nothing of an image, and bring nothing back."""

from __future__ import annotations

import json

import pytest

from core.labelling import batches, class_changes
from core.labelling.batches import Undone
from core.labelling.bulk.targets import BulkLabel, find_targets
from core.labelling.bulk.write import store_labels
from core.labelling.label_request import LabelRequest
from core.store.blobs import sha256
from core.store.store import Store
from tests.core.erasure.erasing import eraser
from tests.core.labelled_store import IMAGE, OTHER, current, label

pytestmark = pytest.mark.slow  # not in `make check`


def test_batch_of_an_erased_example_has_nothing_of_it(store: Store) -> None:
    first = label(store, LabelRequest("cat")).event.example_id
    other = label(store, LabelRequest("cat"), OTHER).event.example_id
    targets = find_targets(store, [BulkLabel("secret", each) for each in (first, other)])
    batch_id = store_labels(store, targets, {}, LabelRequest("any", "ann"), 5.0).batch_id
    assert batch_id is not None
    eraser(store).erase_example(first, "bob")
    with store.db.read() as conn:
        (batch,) = batches.listing(conn, limit=9)
    said = json.dumps(batch.detail)
    assert sha256(IMAGE) not in said
    assert "secret" not in said
    undone = batches.undo(store, batch_id, who="ann", now=6.0)
    assert undone == Undone(batch_id, retracted=1, restored=0, kept=0)
    assert current(store) == [(sha256(OTHER), "cat")]


def test_undone_delete_of_a_class_gives_an_erased_example_no_label(store: Store) -> None:
    first = label(store, LabelRequest("cat")).event.example_id
    label(store, LabelRequest("cat"), OTHER)
    deleted = class_changes.delete(store, "cat", who="ann", now=5.0)
    eraser(store).erase_example(first, "bob")
    undone = batches.undo(store, deleted.batch_id, who="ann", now=6.0)
    assert undone == Undone(deleted.batch_id, retracted=0, restored=1, kept=0)
    assert current(store) == [(sha256(OTHER), "cat")]
