from __future__ import annotations

import threading
from itertools import count

import pytest
from sqlalchemy import Connection, insert

from core.class_names import normalise
from core.errors import InvalidLabel
from core.labelling import labels
from core.labelling.labels import LabelEvent
from core.store import schema
from core.store.store import Store

_ids = count()


def add_example(conn: Connection, *, is_held_out: bool = False) -> int:
    image = f"{next(_ids):064d}"
    result = conn.execute(
        insert(schema.examples).values(
            image=image,
            num_bytes=1,
            width=1,
            height=1,
            source="test",
            is_held_out=is_held_out,
            group_id=image,
            thumb=bytes(72),
            **{f"band_{i}": 0 for i in range(4)},
            created_at=0.0,
        )
    )
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])


def give(conn: Connection, example_id: int, label: str, now: float = 0.0) -> LabelEvent:
    return labels.append(conn, example_id=example_id, label=label, now=now)


def retract(conn: Connection, event: LabelEvent, now: float = 0.0) -> LabelEvent:
    return labels.append(conn, example_id=event.example_id, label=None, retracts=event.id, now=now)


def current(conn: Connection, snapshot: int | None = None) -> dict[int, str]:
    return {row.example_id: row.label for row in labels.current(conn, snapshot)}


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("cat", "cat"),
        ("  maine coon \n", "maine coon"),
        ("Cat", "Cat"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u212b", "\u00c5"),
        ("猫", "猫"),
        ("👩\u200d🌾", "👩\u200d🌾"),
        ("\u00a0cat\u3000", "cat"),
        ("x" * 100, "x" * 100),
        ("e\u0301" * 100, "é" * 100),
        ("0", "0"),
        ("<b>&amp;'\"", "<b>&amp;'\""),
    ],
)
def test_label_is_stored_in_one_spelling(given: str, stored: str) -> None:
    assert normalise(given) == stored
    assert normalise(stored) == stored


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "empty"),
        (" \t\r\n\u00a0", "empty"),
        ("x" * 101, "has 101 characters; the limit is 100"),
        ("x" * 10_000, "has 10,000 characters"),
        ("a\x00b", "control character"),
        ("a\nb", "control character"),
        ("a\x1b[31m", "control character"),
        ("a\x7f", "control character"),
        ("\ud800", "control character"),
        ("\ue000", "control character"),
    ],
)
def test_unfit_label_is_refused_with_the_reason(given: str, why: str) -> None:
    with pytest.raises(InvalidLabel, match=why):
        normalise(given)


def test_newest_label_is_current(store: Store) -> None:
    with store.db.write() as conn:
        example = add_example(conn)
        give(conn, example, "cat")
        give(conn, example, "dog")
        assert current(conn) == {example: "dog"}


def test_retraction_restores_the_earlier_label(store: Store) -> None:
    with store.db.write() as conn:
        example = add_example(conn)
        give(conn, example, "cat")
        retract(conn, give(conn, example, "dog"))
        assert current(conn) == {example: "cat"}


def test_retraction_of_the_only_label_leaves_none(store: Store) -> None:
    with store.db.write() as conn:
        retract(conn, give(conn, add_example(conn), "cat"))
        assert current(conn) == {}


def test_retraction_of_an_older_label_changes_nothing(store: Store) -> None:
    with store.db.write() as conn:
        example = add_example(conn)
        older = give(conn, example, "cat")
        give(conn, example, "dog")
        retract(conn, older)
        assert current(conn) == {example: "dog"}


def test_label_given_after_a_retraction_is_current(store: Store) -> None:
    with store.db.write() as conn:
        example = add_example(conn)
        retract(conn, give(conn, example, "cat"))
        give(conn, example, "cat")
        assert current(conn) == {example: "cat"}


def test_retraction_changes_no_other_example(store: Store) -> None:
    with store.db.write() as conn:
        one, other = add_example(conn), add_example(conn)
        retract(conn, give(conn, one, "cat"))
        give(conn, other, "cat")
        assert current(conn) == {other: "cat"}


def test_snapshot_always_shows_the_same_labels(store: Store) -> None:
    seen: dict[int, dict[int, str]] = {}
    with store.db.write() as conn:
        a, b = add_example(conn), add_example(conn)
        first = give(conn, a, "cat")
        for step in (
            lambda: give(conn, b, "dog"),
            lambda: give(conn, a, "fox"),
            lambda: retract(conn, first),
            lambda: give(conn, b, "cat"),
        ):
            seen[labels.newest_id(conn)] = current(conn)
            newest = step()
        seen[newest.id] = current(conn)
        retract(conn, newest)
    with store.db.read() as conn:
        assert {snapshot: current(conn, snapshot) for snapshot in seen} == seen
        assert current(conn, 0) == {}


def test_current_labels_are_ordered_by_example_and_say_which_are_held_out(store: Store) -> None:
    with store.db.write() as conn:
        ids = [add_example(conn, is_held_out=i == 1) for i in range(3)]
        for example in reversed(ids):
            give(conn, example, "cat")
        rows = labels.current(conn)
    assert [row.example_id for row in rows] == ids
    assert [row.is_held_out for row in rows] == [False, True, False]


def test_id_of_a_deleted_label_is_not_reused(store: Store) -> None:
    with store.db.write() as conn:
        event = give(conn, add_example(conn), "cat")
        conn.execute(schema.labels.delete())
        assert give(conn, event.example_id, "cat").id > event.id


def test_events_after_a_snapshot_are_counted_with_their_times(store: Store) -> None:
    with store.db.write() as conn:
        example = add_example(conn)
        assert labels.newest_id(conn) == 0
        assert labels.count_after(conn, 0) == (0, None, None)
        first, second, third = (give(conn, example, "cat", now) for now in (5.0, 3.0, 9.0))
        assert labels.count_after(conn, 0) == (3, 3.0, 9.0)
        assert labels.count_after(conn, third.id) == (0, None, None)
        assert labels.times_between(conn, first.id, second.id) == [3.0]


def test_label_events_after_an_id_are_ordered_and_without_retractions(store: Store) -> None:
    with store.db.write() as conn:
        example = add_example(conn)
        first, second = give(conn, example, "cat"), give(conn, example, "dog")
        retract(conn, first)
        third = give(conn, example, "fox")
        found = labels.labelled_after(conn, first.id, limit=10)
        assert [(event_id, row.label) for event_id, row in found] == [
            (second.id, "dog"),
            (third.id, "fox"),
        ]
        assert len(labels.labelled_after(conn, 0, limit=2)) == 2


@pytest.mark.parametrize("event_id", [0, -1, 1, 2**63, 10**30])
def test_missing_event_is_none(store: Store, event_id: int) -> None:
    with store.db.read() as conn:
        assert labels.get(conn, event_id) is None


@pytest.mark.postgres
def test_ids_become_visible_in_order(postgres_store: Store) -> None:
    """A later event waits for the commit of an earlier one, so no snapshot misses one."""
    db = postgres_store.db
    with db.write() as conn:
        example = add_example(conn)
    is_second_written = threading.Event()

    def second() -> None:
        with db.write() as conn:
            labels.lock_order(conn)
            give(conn, example, "dog")
        is_second_written.set()

    thread = threading.Thread(target=second)
    with db.write() as conn:
        labels.lock_order(conn)
        first = give(conn, example, "cat")
        thread.start()
        assert not is_second_written.wait(0.3)
        with db.read() as other:
            assert labels.newest_id(other) == 0
    thread.join(timeout=10)
    assert is_second_written.is_set()
    with db.read() as conn:
        assert labels.newest_id(conn) > first.id
        assert current(conn) == {example: "dog"}
