from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from core.audit import Actor
from core.errors import EvergreenError, IdempotencyConflict, ImageNotKept
from core.inputs.pixels.kind import PIXELS
from core.labelling import batches, intake, labels
from core.labelling.bulk.targets import BulkLabel, Target, find_targets
from core.labelling.bulk.write import BulkResults, store_labels
from core.labelling.examples import NewExample
from core.labelling.label_request import LabelRequest
from core.store import schema
from core.store.schema import audit
from core.store.store import Store
from core.store.tables.retention import doomed_blobs
from tests.core.labelled_store import LIMITS, count, current, label, predict
from tests.support import images

ANN = LabelRequest("any", "ann", actor=Actor("ann", request_id="r-1"))


def photo(seed: int) -> bytes:
    return images.png(24, 20, seed)


def give(
    store: Store,
    *wanted: BulkLabel,
    request: LabelRequest = ANN,
    without: frozenset[str] = frozenset(),
) -> BulkResults:
    """As the route does: decode what is new, and write."""
    targets = find_targets(store, wanted)
    prepared: dict[str, NewExample | EvergreenError] = {}
    for target in targets:
        if isinstance(target, Target) and target.example_id is None:
            content = store.blobs.get(target.image)
            prepared[target.image] = intake.prepare(content, LIMITS, "prediction", PIXELS)
            store.blobs.put(content)
    for image in without:
        prepared[image] = ImageNotKept("gone")
    return store_labels(store, targets, prepared, request, 5.0)


def statuses(found: BulkResults) -> list[str]:
    return [result.status for result in found.results]


def test_labels_are_written_in_order_and_the_last_one_holds(store: Store) -> None:
    known = label(store, LabelRequest("cat"), photo(1)).event.example_id
    prediction = predict(store, photo(2))
    found = give(
        store,
        BulkLabel("dog", example_id=known),
        BulkLabel("fox", prediction_id=prediction),
        BulkLabel("owl", example_id=known),
        BulkLabel("OWL", example_id=known),
    )
    assert statuses(found) == ["stored", "stored", "stored", "already"]
    ids = [result.event_id for result in found.results]
    assert ids[:3] == sorted(ids[:3], key=lambda each: each or 0)
    assert ids[3] == ids[2]
    assert [name for _, name in current(store)] == ["owl", "fox"]
    with store.db.read() as conn:
        events = [labels.get(conn, each or 0) for each in ids[:3]]
    assert [event and (event.label, event.who, event.prediction_id) for event in events] == [
        ("dog", "ann", None),
        ("fox", "ann", prediction),
        ("owl", "ann", None),
    ]
    assert {event and event.batch_id for event in events} == {found.batch_id}


def test_batch_that_stores_nothing_is_no_batch(store: Store) -> None:
    found = give(store, BulkLabel("cat", example_id=5), BulkLabel("cat", prediction_id="x"))
    assert (found.batch_id, statuses(found)) == (None, ["refused", "refused"])
    assert count(store, "label_batches") == 0
    assert count(store, "classes") == 0


def test_image_that_cannot_be_read_is_refused_alone(store: Store) -> None:
    bad, good = predict(store, photo(1)), predict(store, photo(2))
    wanted = [BulkLabel("cat", prediction_id=each) for each in (bad, good)]
    (target, _) = find_targets(store, wanted)
    assert isinstance(target, Target)
    found = give(store, *wanted, without=frozenset({target.image}))
    assert statuses(found) == ["refused", "stored"]
    assert isinstance(found.results[0].error, ImageNotKept)


def test_prediction_that_is_erased_meanwhile_is_refused_and_its_blob_goes(store: Store) -> None:
    wanted = BulkLabel("cat", prediction_id=predict(store, photo(1)))
    targets = find_targets(store, [wanted])
    (target,) = targets
    assert isinstance(target, Target)
    with store.db.write() as conn:
        conn.execute(schema.predictions.delete())
        conn.execute(
            doomed_blobs.insert().values(
                digest=target.image, kind="image", num_bytes=1, deleted_at=4.0
            )
        )
    prepared = {target.image: intake.prepare(photo(1), LIMITS, "prediction", PIXELS)}
    found = store_labels(store, targets, prepared, ANN, 5.0)
    assert statuses(found) == ["refused"]
    assert count(store, "examples") == 0
    with store.db.read() as conn:
        assert conn.execute(select(doomed_blobs.c.deleted_at)).scalar() is None


def test_key_makes_a_batch_happen_once(store: Store) -> None:
    known = label(store, LabelRequest("cat"), photo(1)).event.example_id
    request = replace(ANN, idempotency_key="k", key_scope="key 1")
    wanted = [BulkLabel("dog", example_id=known), BulkLabel("owl", example_id=known)]
    first = give(store, *wanted, request=request)
    assert give(store, *wanted, request=request) == first
    assert count(store) == 3
    with pytest.raises(IdempotencyConflict):
        give(store, *wanted[::-1], request=request)
    other = give(store, *wanted, request=replace(request, key_scope="key 2"))
    assert statuses(other) == ["stored", "stored"]
    single = label(store, LabelRequest("cat", idempotency_key="k", key_scope="key 1"), photo(1))
    assert single.is_new, "the key of a single label is another one"


def test_repeated_batch_that_was_undone_stores_the_rest_as_another_batch(store: Store) -> None:
    known = label(store, LabelRequest("cat"), photo(1)).event.example_id
    request = replace(ANN, idempotency_key="k")
    wanted = [
        BulkLabel("dog", example_id=known),
        BulkLabel("dog", prediction_id=predict(store, photo(2))),
    ]
    (_, target) = find_targets(store, wanted)
    assert isinstance(target, Target)
    first = give(store, *wanted, request=request, without=frozenset({target.image}))
    assert first.batch_id is not None
    batches.undo(store, first.batch_id, who="ann", now=6.0)
    second = give(store, *wanted, request=request)
    assert statuses(second) == ["stored", "stored"]
    assert second.batch_id != first.batch_id
    assert [name for _, name in current(store)] == ["cat", "dog"]


def test_batch_is_one_event_of_the_audit_without_a_label(store: Store) -> None:
    wanted = [BulkLabel("secret", prediction_id=predict(store, photo(seed))) for seed in range(3)]
    found = give(store, *wanted)
    with store.db.read() as conn:
        row = conn.execute(select(audit.audit_events)).one()
        (batch,) = batches.listing(conn, limit=9)
    ids = [result.event_id for result in found.results]
    detail = {"first": ids[0], "last": ids[-1], "count": 3}
    assert (row.action, row.subject, row.detail) == ("labels.given", "batch 1", detail)
    assert (row.who, row.request_id) == ("ann", "r-1")
    assert batch.detail == {"stored": 3, "already": 0, "refused": 0}
