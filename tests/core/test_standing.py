"""What is asked many times a second: right, and cheap however long the service has run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import Connection, event

from core import champion, labels, runs, standing
from core.standing import Standing
from core.store import Store
from tests import tiny

NOW = 1_700_000_000.0


def read(store: Store, before: Standing | None = None) -> Standing:
    with store.db.read() as conn:
        return standing.read(conn, before or Standing())


def request(store: Store, version: int) -> int:
    with store.db.write() as conn:
        return champion.request(conn, version, who="a test", why="", now=NOW).id


def test_it_follows_whatever_changes(store: Store) -> None:
    empty = read(store)
    assert (empty.waiting, empty.newest, empty.newest_version) == (None, None, None)
    first = tiny.publish(store)
    published = read(store, empty)
    assert (published.newest, published.newest_version) == (None, first)
    wish = request(store, first)
    wished = read(store, published)
    assert wished.waiting is not None
    assert wished.waiting.id == wish
    second = request(store, first)
    replaced = read(store, wished)
    assert replaced.waiting is not None
    assert replaced.waiting.id == second
    activation = champion.move_on(store.db)
    activated = read(store, replaced)
    assert (activated.waiting, activated.newest) == (None, activation)
    for seen in (empty, published, wished, replaced):
        assert read(store, seen) == activated, "whatever was seen before"


def test_what_has_not_changed_is_told_by_one_statement(store: Store) -> None:
    request(store, tiny.publish(store))
    champion.move_on(store.db)
    before = read(store)
    with store.db.read() as conn:
        asked = questions(conn, lambda: standing.read(conn, before))
        assert standing.read(conn, before) is before
    assert len(asked) == 1


def questions(conn: Connection, ask: Callable[[], object]) -> list[tuple[str, Sequence[object]]]:
    """What is selected meanwhile: statements and their values."""
    seen: list[tuple[str, Sequence[object]]] = []
    event.listen(conn, "before_cursor_execute", lambda *args: seen.append(args[2:4]))
    ask()
    return [(text, values) for text, values in seen if text.startswith("SELECT")]


@pytest.mark.parametrize(
    "ask",
    [
        standing.read,
        champion.waiting,
        champion.newest_activation,
        runs.unfinished,
        runs.last_of,
        runs.newest_snapshot,
        lambda conn: labels.count_after(conn, 7),
    ],
)
def test_no_question_reads_a_whole_table_that_grows(
    sqlite_store: Store, ask: Callable[[Connection], object]
) -> None:
    with sqlite_store.db.read() as conn:
        plans = [
            (step[3], "WHERE" in statement)
            for statement, values in questions(conn, lambda: ask(conn))
            for step in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(values))
        ]
    assert plans
    assert not any("TEMP B-TREE" in plan for plan, _ in plans)
    # The newest by its id is the last row, if nothing else is asked of it; other scans read all.
    allowed = {"SCAN promotions", "SCAN activations", "SCAN CONSTANT ROW"}
    scans = [(plan, is_picky) for plan, is_picky in plans if plan.startswith("SCAN")]
    assert [plan for plan, is_picky in scans if is_picky or plan not in allowed] == []
