"""What is polled many times a second is right, and cheap however long the service has run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, event

from core import leases, runs
from core.inputs.kind import Limits
from core.labelling import intake, labels
from core.labelling.intake import LabelRequest
from core.registry import latest, promotions
from core.registry.latest import Latest, LatestPoller
from core.store.database import Database
from core.store.schema import metadata
from core.store.store import Store
from tests.core.promotions import report_workers, worker
from tests.support import images, tiny

NOW = 1_700_000_000.0


def poll(store: Store) -> Latest:
    return LatestPoller(store.db).poll()


def request(store: Store, version: int) -> int:
    with store.db.write() as conn:
        return promotions.request(conn, version, who="a test", why="", now=NOW).id


def test_poll_sees_whatever_changes(store: Store) -> None:
    poller = LatestPoller(store.db)
    seen = [poller.poll(is_certain=True)]
    assert (seen[0].pending, seen[0].activation, seen[0].newest_version) == (None, None, None)

    def polled() -> Latest:
        seen.append(poller.poll(is_certain=True))
        assert seen[-1] == poll(store), "whatever was polled before"
        assert seen[-1] != seen[-2]
        return seen[-1]

    first = tiny.publish(store)
    published = polled()
    assert (published.activation, published.newest_version) == (None, first)
    taken = intake.label_image(store, images.png(), LabelRequest("cat"), Limits(), now=NOW)
    labelled = polled()
    assert labelled.work == (taken.event.id, 0, 0)
    with store.db.write() as conn:
        run, _ = runs.request(conn, trigger="labels", now=NOW)
    assert polled().work == (taken.event.id, 1, 0)
    with store.db.write() as conn:
        leases.claim(conn, "a trainer", NOW)
    assert polled().work == (taken.event.id, 0, 1)
    with store.db.write() as conn:
        leases.hand_back(conn, run.id, "a trainer", NOW)
    with store.db.write() as conn:
        runs.cancel(conn, run.id, NOW)
    promotion_id = request(store, first)
    requested = polled()
    assert requested.work == labelled.work
    assert requested.pending is not None
    assert requested.pending.id == promotion_id
    second = request(store, first)
    replaced = polled()
    assert replaced.pending is not None
    assert replaced.pending.id == second
    activation = promotions.advance_committed(store.db)
    activated = polled()
    assert (activated.pending, activated.activation) == (None, activation)


def test_poll_returns_the_same_object_while_nothing_changes(store: Store) -> None:
    request(store, tiny.publish(store))
    promotions.advance_committed(store.db)
    poller = LatestPoller(store.db)
    before = poller.poll()
    assert poller.poll() is before
    report_workers(store.db, worker((1,), last_seen=NOW))
    assert poller.poll() is before, "a commit that changes nothing that is polled"
    assert (before.pending, before.activation is None) == (None, False)


def test_poll_of_sqlite_queries_only_after_a_commit(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[object] = []
    fetch_row = Database.fetch_row
    monkeypatch.setattr(
        Database, "fetch_row", lambda db, query: queries.append(query) or fetch_row(db, query)
    )
    poller = LatestPoller(sqlite_store.db)
    for _ in range(5):
        poller.poll()
    assert len(queries) == 1
    number = tiny.publish(sqlite_store)
    assert [poller.poll().newest_version for _ in range(5)] == [number] * 5
    assert len(queries) == 2


def test_commit_during_a_poll_is_seen_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    poller = LatestPoller(store.db)
    fetch_row = Database.fetch_row

    def fetch_and_commit(db: Database, query: Any) -> tuple[Any, ...]:
        row = fetch_row(db, query)
        monkeypatch.undo()
        tiny.publish(store)
        return row

    monkeypatch.setattr(Database, "fetch_row", fetch_and_commit)
    assert poller.poll(is_certain=True).newest_version is None
    assert poller.poll(is_certain=True).newest_version == 1


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
