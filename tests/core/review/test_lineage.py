"""Which versions saw an example, and with which label."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from core.errors import UnknownExample, UnknownPrediction
from core.labelling import intake, labels, retractions
from core.labelling.intake import LabelRequest
from core.review import lineage
from core.store import schema
from core.store.store import Store
from tests.core.labelled_store import IMAGE, LIMITS, OTHER, label, predict
from tests.support import tiny


def publish_at(store: Store, snapshot: int) -> int:
    """A version that saw the labels up to this event."""
    number = tiny.publish(store)
    with store.db.write() as conn:
        row = schema.versions.c.number == number
        conn.execute(update(schema.versions).where(row).values(snapshot=snapshot))
    return number


@pytest.fixture
def relabelled(store: Store) -> Store:
    """Events: 1 cat, 2 of another image, 3 dog, 4 retracts 3, 5 retracts 1. Versions 1 to 6 saw
    none to five of them."""
    label(store)
    label(store, LabelRequest("bird"), OTHER)
    label(store, LabelRequest("dog", who="ann"))
    retractions.retract(store, 3, who="bob", now=2.0)
    retractions.retract(store, 1, who="bob", now=3.0)
    for snapshot in range(6):
        assert publish_at(store, snapshot) == snapshot + 1
    return store


def sights(store: Store, example_id: int, limit: int = 10, before: int | None = None) -> list[str]:
    with store.db.read() as conn:
        found = lineage.sights_of(conn, example_id, limit=limit, before=before)
    return [f"{sight.version} {sight.label}" for sight in found]


def test_version_saw_the_label_of_its_snapshot(relabelled: Store) -> None:
    assert sights(relabelled, 1) == ["5 cat", "4 dog", "3 cat", "2 cat"]
    assert sights(relabelled, 2) == ["6 bird", "5 bird", "4 bird", "3 bird"]


def test_sights_are_paged(relabelled: Store) -> None:
    assert sights(relabelled, 1, limit=2) == ["5 cat", "4 dog"]
    assert sights(relabelled, 1, limit=2, before=4) == ["3 cat", "2 cat"]
    assert sights(relabelled, 1, before=10**30) == sights(relabelled, 1)


def test_sights_are_the_labels_that_a_run_reads(relabelled: Store) -> None:
    with relabelled.db.read() as conn:
        for snapshot in range(6):
            expected = {row.example_id: row.label for row in labels.current(conn, snapshot)}
            found = {i: lineage.label_at(lineage.events_of(conn, i), snapshot) for i in (1, 2)}
            assert {i: name for i, name in found.items() if name is not None} == expected


def test_pages_of_a_snapshot_are_the_whole_of_it(relabelled: Store) -> None:
    with relabelled.db.read() as conn:
        for snapshot in range(6):
            first, after = labels.current_page(conn, snapshot, after=0, limit=1)
            assert after == 1
            second, after = labels.current_page(conn, snapshot, after=after, limit=1)
            assert after == 2
            assert labels.current_page(conn, snapshot, after=after, limit=1) == ([], None)
            assert first + second == labels.current(conn, snapshot)


def test_origin_of_a_prediction(store: Store) -> None:
    tiny.publish(store)
    prediction_id = predict(store)
    with store.db.read() as conn:
        origin = lineage.origin_of(conn, prediction_id)
    assert (origin.version.number, origin.example_id, origin.events) == (1, None, [])
    intake.label_prediction(store, prediction_id, LabelRequest("cat", who="ann"), LIMITS, 1.0)
    with store.db.read() as conn:
        origin = lineage.origin_of(conn, prediction_id)
    [event] = origin.events
    assert (event.label, event.who, event.prediction_id) == ("cat", "ann", prediction_id)
    assert origin.example_id == 1


@pytest.mark.parametrize("unknown", ["x", "01a22fdf-8ecd-74dd-a027-245b5267ea78"])
def test_unknown_prediction(store: Store, unknown: str) -> None:
    with store.db.read() as conn, pytest.raises(UnknownPrediction, match=unknown):
        lineage.origin_of(conn, unknown)


@pytest.mark.parametrize("unknown", [0, -1, 1, 2**63, 10**30])
def test_unknown_example(store: Store, unknown: int) -> None:
    with store.db.read() as conn, pytest.raises(UnknownExample, match=str(unknown)):
        lineage.example(conn, unknown)


def test_example_record(store: Store) -> None:
    label(store, image=IMAGE)
    with store.db.read() as conn:
        record = lineage.example(conn, 1)
    assert (record.width, record.height, record.num_bytes) == (24, 20, len(IMAGE))
