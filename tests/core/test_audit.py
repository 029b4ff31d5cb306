"""The audit: what is in it, that it only grows, and that no reader skips an event."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import DBAPIError

from core import audit, runs
from core.access import keys
from core.access.roles import Role
from core.audit import Actor, AuditEvent
from core.errors import RunFinished
from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.label_request import LabelRequest
from core.registry import promotions
from core.store.store import Store
from core.store.tables.audit import audit_events
from tests.support import images, tiny
from tests.support.concurrency import in_threads

ANN = Actor("ann", "0123456789ab", "r-1")
LIMITS = Limits(1_000_000)
NOW = 1_000_000.0


def events(store: Store, **filters: object) -> list[AuditEvent]:
    with store.db.read() as conn:
        return audit.listing(conn, limit=1000, **filters)  # type: ignore[arg-type]


def give(store: Store, seed: int, by: Actor = ANN) -> intake.IntakeResult:
    request = LabelRequest("a label that is erased some day", idempotency_key=str(seed), actor=by)
    return intake.label_image(store, images.png(24, 20, seed), request, LIMITS, NOW)


def test_label_is_in_it_without_its_name(store: Store) -> None:
    given = give(store, 1).event
    assert events(store) == [
        AuditEvent(
            *(1, NOW, "ann", "0123456789ab", "r-1", "label.given", f"label {given.id}"),
            {"example": given.example_id},
        )
    ]


def test_label_that_is_sent_again_is_no_second_event(store: Store) -> None:
    give(store, 1)
    give(store, 1)
    assert len(events(store)) == 1


@pytest.mark.parametrize("change", [update(audit_events).values(who="eve"), delete(audit_events)])
def test_database_refuses_to_change_or_delete_events(store: Store, change: object) -> None:
    give(store, 1)
    with pytest.raises(DBAPIError, match="never changed or deleted"), store.db.write() as conn:
        conn.execute(change)  # type: ignore[call-overload]
    assert [event.who for event in events(store)] == ["ann"]


def cancel_twice(store: Store) -> None:
    with store.db.write() as conn:
        run, _ = runs.request(conn, trigger="request", now=NOW, by=ANN)
        runs.cancel(conn, run.id, NOW, ANN)
        runs.cancel(conn, run.id, NOW, ANN)


def test_change_that_fails_leaves_no_event(store: Store) -> None:
    with pytest.raises(RunFinished):
        cancel_twice(store)
    assert events(store) == []


def test_promotion_names_who_asked_and_what_came_of_it(store: Store) -> None:
    tiny.publish(store)
    tiny.publish(store)
    for version in (2, 1):
        with store.db.write() as conn:
            promotions.request(conn, version, who="ann", why="", now=NOW, by=ANN)
            promotions.advance(conn, NOW)
    found = [(e.action, e.subject, e.who) for e in events(store, who="ann")]
    assert found == [
        ("version.rolled_back", "version 1", "ann"),
        ("promotion.requested", "version 1", "ann"),
        ("version.promoted", "version 2", "ann"),
        ("promotion.requested", "version 2", "ann"),
    ]
    assert events(store, action="promotion.requested", who="ann")[0].key_id == ANN.key_id


def test_secret_of_a_key_is_not_in_it(store: Store) -> None:
    with store.db.write() as conn:
        row, secret = keys.add(conn, "camera", Role.LABEL, now=NOW, by=ANN)
        keys.revoke(conn, "camera", NOW, ANN)
    revoked, made = events(store)
    assert (made.action, revoked.action) == ("key.made", "key.revoked")
    assert made.detail == {"name": "camera", "role": "label"}
    assert secret not in str((made, revoked))
    assert row.digest not in str((made, revoked))


def test_listing_pages_by_id(store: Store) -> None:
    for i in range(5):
        audit.record_read(store.db, ANN if i % 2 else Actor("bob"), "example.read", f"example {i}")
    assert [e.id for e in events(store)] == [5, 4, 3, 2, 1]
    assert [e.id for e in events(store, after=2, before=5)] == [4, 3]
    assert [e.id for e in events(store, who="bob", before=5)] == [3, 1]
    assert events(store, action="key.made") == []
    assert events(store, who="bo\0b") == []
    assert events(store, after=2**70) == []
    assert len(events(store, before=2**70)) == 5


def test_reader_of_new_events_skips_none_while_many_write(store: Store) -> None:
    """Labels, runs, promotions and reads have different locks."""
    tiny.publish(store)
    before = events(store)[0].id
    is_done = threading.Event()
    read: list[AuditEvent] = []

    def follow() -> None:
        while True:
            is_last = is_done.is_set()
            found = events(store, after=read[-1].id if read else before)
            read.extend(reversed(found))
            if is_last:
                return

    def write(worker: int) -> None:
        for i in range(6):
            by = Actor(f"{worker} {i}")
            match worker % 4:
                case 0:
                    give(store, 100 * worker + i, by)
                case 1:
                    with store.db.write() as conn:
                        tier = "head" if i % 2 else "blocks"
                        wanted = {"minutes": i + 1}
                        runs.request(
                            conn, trigger="request", now=NOW, tier=tier, wanted=wanted, by=by
                        )
                case 2:
                    with store.db.write() as conn:
                        promotions.request(conn, 1, who=by.who, why="", now=NOW)
                case _:
                    audit.record_read(store.db, by, "example.read", "example 1")

    follower = threading.Thread(target=follow)
    follower.start()
    in_threads(8, write)
    is_done.set()
    follower.join()
    expected = {f"{worker} {i}" for worker in range(8) for i in range(6)}
    assert sorted(event.who for event in read) == sorted(expected)
    assert [event.id for event in read] == sorted(event.id for event in read)
