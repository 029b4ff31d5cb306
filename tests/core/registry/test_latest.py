"""What is polled many times a second is right, and cheap however long the service has run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import Connection, event

from core import leases, runs
from core.inputs.pixels import Limits
from core.labelling import intake, labels
from core.labelling.intake import LabelRequest
from core.registry import latest, promotions
from core.registry.latest import Latest
from core.store.schema import metadata
from core.store.store import Store
from tests.support import images, tiny

NOW = 1_700_000_000.0


def read(store: Store, before: Latest | None = None) -> Latest:
    return latest.poll(store.db, before or Latest())


def request(store: Store, version: int) -> int:
    with store.db.write() as conn:
        return promotions.request(conn, version, who="a test", why="", now=NOW).id


def test_poll_sees_whatever_changes(store: Store) -> None:
    empty = read(store)
    assert (empty.pending, empty.activation, empty.newest_version) == (None, None, None)
    first = tiny.publish(store)
    published = read(store, empty)
    assert (published.activation, published.newest_version) == (None, first)
    taken = intake.label_image(store, images.png(), LabelRequest("cat"), Limits(), now=NOW)
    labelled = read(store, published)
    assert labelled.work == (taken.event.id, 0, 0)
    with store.db.write() as conn:
        run, _ = runs.request(conn, trigger="labels", now=NOW)
    asked = read(store, labelled)
    assert asked.work == (taken.event.id, 1, 0)
    with store.db.write() as conn:
        leases.claim(conn, "a trainer", NOW)
    running = read(store, asked)
    assert running.work == (taken.event.id, 0, 1)
    with store.db.write() as conn:
        leases.hand_back(conn, run.id, "a trainer", NOW)
    with store.db.write() as conn:
        runs.cancel(conn, run.id, NOW)
    promotion_id = request(store, first)
    requested = read(store, running)
    assert requested.work == labelled.work
    assert requested.pending is not None
    assert requested.pending.id == promotion_id
    second = request(store, first)
    replaced = read(store, requested)
    assert replaced.pending is not None
    assert replaced.pending.id == second
    activation = promotions.advance_committed(store.db)
    activated = read(store, replaced)
    assert (activated.pending, activated.activation) == (None, activation)
    for seen in (empty, published, labelled, asked, running, requested, replaced):
        assert read(store, seen) == activated, "whatever was polled before"


def test_poll_returns_the_same_object_while_nothing_changes(store: Store) -> None:
    request(store, tiny.publish(store))
    promotions.advance_committed(store.db)
    before = read(store)
    assert read(store, before) is before
    assert (before.pending, before.activation is None) == (None, False)


def selects(conn: Connection, ask: Callable[[], object]) -> list[tuple[str, Sequence[object]]]:
    """The SELECT statements that are run meanwhile, and their values."""
    seen: list[tuple[str, Sequence[object]]] = []
    event.listen(conn, "before_cursor_execute", lambda *args: seen.append(args[2:4]))
    ask()
    return [(text, values) for text, values in seen if text.startswith("SELECT")]


@pytest.mark.parametrize(
    "ask",
    [
        lambda conn: conn.execute(latest.QUERY),
        promotions.pending,
        promotions.newest_activation,
        runs.unfinished,
        runs.last_of,
        runs.newest_snapshot,
        lambda conn: labels.count_after(conn, 7),
    ],
)
def test_query_never_reads_a_whole_table_that_grows(
    sqlite_store: Store, ask: Callable[[Connection], object]
) -> None:
    with sqlite_store.db.read() as conn:
        plans = [
            (step[3], statement)
            for statement, values in selects(conn, lambda: ask(conn))
            for step in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(values))
        ]
    assert plans
    assert not any("TEMP B-TREE" in plan for plan, _ in plans)
    assert [plan for plan, statement in plans if reads_a_table(plan, statement)] == []


def reads_a_table(plan: str, statement: str) -> bool:
    """All of it: the newest by its id is the last row, if nothing else is asked of it."""
    scanned = re.match(r"SCAN (\w+)", plan)
    table = scanned[1] if scanned else ""
    if table not in metadata.tables:  # a row that was made on the way
        return False
    is_last = table in ("promotions", "activations")
    return not is_last or re.search(rf"FROM {table}\s+WHERE", statement) is not None
