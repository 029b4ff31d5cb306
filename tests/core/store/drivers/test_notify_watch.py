"""PostgreSQL notifies idle processes of what they poll."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from sqlalchemy import text

from core import leases, runs
from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.registry import promotions
from core.registry.latest import LatestPoller
from core.store.database import Database
from core.store.drivers import notify_watch
from core.store.drivers.notify_watch import NotifyWatch
from core.store.store import Store
from tests.core.promotions import report_workers, worker
from tests.core.rows import insert_predictions
from tests.support import images, tiny
from tests.support.wait import wait_until

pytestmark = pytest.mark.postgres


@pytest.fixture
def store(postgres_store: Store) -> Store:
    return postgres_store


def is_heard(db: Database, change: Callable[[], object]) -> bool:
    before = db.commit_mark()
    assert before is not None
    change()
    try:
        wait_until(lambda: db.commit_mark() != before, 5.0)
    except TimeoutError:
        return False
    return True


def test_each_change_of_what_is_polled_is_heard(store: Store) -> None:
    def request_run() -> None:
        with store.db.write() as conn:
            runs.request(conn, trigger="labels", now=1.0)

    def claim_run() -> None:
        with store.db.write() as conn:
            leases.claim(conn, "a trainer", 1.0)

    def promote() -> None:
        with store.db.write() as conn:
            promotions.request(conn, 1, who="ann", why="better", now=1.0)

    changes: list[Callable[[], object]] = [
        lambda: tiny.publish(store),
        lambda: intake.label_image(store, images.png(), LabelRequest("cat"), Limits(), 1.0),
        request_run,
        claim_run,
        promote,
        lambda: promotions.advance_committed(store.db),
    ]
    assert all(is_heard(store.db, change) for change in changes)


def test_predictions_and_heartbeats_are_not_heard(store: Store) -> None:
    before = store.db.commit_mark()
    insert_predictions(store.db, "1")
    report_workers(store.db, worker((1,)))
    time.sleep(0.05)
    assert store.db.commit_mark() == before is not None


def test_poll_queries_only_after_a_notification(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[object] = []
    fetch_row = Database.fetch_row
    monkeypatch.setattr(
        Database, "fetch_row", lambda db, query: queries.append(query) or fetch_row(db, query)
    )
    poller = LatestPoller(store.db)
    for _ in range(5):
        poller.poll()
    assert len(queries) == 1
    number = tiny.publish(store)
    assert poller.poll(is_certain=True).newest_version == number


def test_poll_is_a_query_where_notifications_do_not_arrive(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As behind a pooler in transaction mode.
    monkeypatch.setattr(notify_watch, "_HEARD_WITHIN_S", 0.01)
    monkeypatch.setattr(NotifyWatch, "_heard", lambda _watch, _timeout_s: [])
    poller = LatestPoller(store.db)
    assert poller.poll().newest_version is None
    number = tiny.publish(store)
    assert poller.poll().newest_version == number
    assert store.db.commit_mark() is None


def test_lost_connection_is_replaced(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify_watch, "_PROVE_EVERY_S", 0.0)
    monkeypatch.setattr(notify_watch, "_RECONNECT_AFTER_S", 0.0)
    before = store.db.commit_mark()
    poller = LatestPoller(store.db)
    poller.poll()
    with store.db.write() as conn:
        ended = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT 1%'"
        )
        conn.execute(text(f"{ended} OR query LIKE 'LISTEN%'"))
    number = tiny.publish(store)
    assert poller.poll().newest_version == number
    wait_until(lambda: store.db.commit_mark() not in (None, before), 5.0)
