"""The counts that triggers keep equal a recount, whatever is written to the labels."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select, update

from core.labelling import labels
from core.labelling.census import read_census
from core.store import schema
from core.store.store import Store
from core.store.tables.tallies import class_sizes, current_labels
from tests.core.rows import EXAMPLE
from tests.support.concurrency import in_threads

NUM_EXAMPLES = 4

# What is done, to which example, and with which label. A retraction is of one of its last events.
_step = st.tuples(
    st.sampled_from(("label", "label", "label", "retract", "erase", "rename")),
    st.integers(1, NUM_EXAMPLES),
    st.sampled_from(("cat", "dog", "cow")),
)


def add_examples(store: Store) -> None:
    with store.db.write() as conn:
        for i in range(1, NUM_EXAMPLES + 1):
            row = EXAMPLE | {"id": i, "image": str(i) * 64, "is_held_out": i % 2 == 0}
            conn.execute(insert(schema.examples).values(**row))


def clear(store: Store) -> None:
    with store.db.write() as conn:
        conn.execute(delete(schema.labels).where(schema.labels.c.retracts.is_not(None)))
        conn.execute(delete(schema.labels))
        conn.execute(delete(schema.examples))


def take(conn: Connection, step: tuple[str, int, str]) -> None:
    action, example, name = step
    labels.lock_order(conn)
    events = schema.labels
    of_example = events.c.example_id == example
    match action:
        case "label":
            labels.append(conn, example_id=example, label=name, now=1.0)
        case "retract":
            retracted = select(events.c.retracts).where(events.c.retracts.is_not(None))
            query = select(events.c.id).where(
                of_example, events.c.label.is_not(None), events.c.id.not_in(retracted)
            )
            ids = list(conn.execute(query.order_by(events.c.id)).scalars())
            if ids:  # not always the newest
                target = ids[len(name + str(example)) % len(ids)]
                labels.append(conn, example_id=example, label=None, retracts=target, now=1.0)
        case "erase":
            conn.execute(delete(events).where(of_example, events.c.retracts.is_not(None)))
            conn.execute(delete(events).where(of_example))
        case "rename":
            conn.execute(update(events).where(events.c.label == "cow").values(label=name))


def recount(conn: Connection) -> tuple[list[tuple[int, str]], Counter[tuple[str, bool]]]:
    """The current label of each example, from the whole log."""
    newest: dict[int, dict[int, str]] = {}
    held_out = dict(conn.execute(select(schema.examples.c.id, schema.examples.c.is_held_out)).all())
    events = conn.execute(select(schema.labels).order_by(schema.labels.c.id)).all()
    retracted = {event.retracts for event in events}
    for event in events:
        if event.label is not None and event.id not in retracted:
            newest.setdefault(event.example_id, {})[event.id] = event.label
    current = {example: given[max(given)] for example, given in newest.items()}
    counts = Counter((name, held_out[example]) for example, name in current.items())
    return sorted(current.items()), counts


def kept(conn: Connection) -> tuple[list[tuple[int, str]], Counter[tuple[str, bool]]]:
    rows = conn.execute(select(current_labels.c.example_id, current_labels.c.label)).all()
    sizes = conn.execute(select(class_sizes).where(class_sizes.c.examples != 0)).all()
    return sorted(map(tuple, rows)), Counter({(r.label, r.is_held_out): r.examples for r in sizes})


@given(steps=st.lists(_step, max_size=15))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_counts_equal_a_recount(store: Store, steps: list[tuple[str, int, str]]) -> None:
    clear(store)
    add_examples(store)
    for step in steps:
        with store.db.write() as conn:
            take(conn, step)
    with store.db.read() as conn:
        assert kept(conn) == recount(conn)
        census = read_census(conn)
        current = labels.current(conn)
    trained = Counter(row.label for row in current if not row.is_held_out)
    assert Counter(census.num_trained) == trained
    assert census.num_held_out == len(current) - trained.total()


def test_counts_equal_a_recount_after_concurrent_labels(store: Store) -> None:
    add_examples(store)

    def write(thread: int) -> None:
        for i in range(12):
            action = "retract" if i % 3 == 2 else "label"
            with store.db.write(durable=False) as conn:
                name = ("cat", "dog", "cow")[(i + thread) % 3]
                take(conn, (action, (i * thread) % NUM_EXAMPLES + 1, name))

    in_threads(4, write)
    with store.db.read() as conn:
        assert kept(conn) == recount(conn)


def test_label_that_is_rolled_back_is_not_counted(store: Store) -> None:
    add_examples(store)

    def label_and_fail() -> None:
        with store.db.write() as conn:
            take(conn, ("label", 1, "cat"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        label_and_fail()
    with store.db.read() as conn:
        assert kept(conn) == ([], Counter())
