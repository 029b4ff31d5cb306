"""Runs whose trainer died or stopped: the next trainer goes on with them."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from core import leases, runs
from core.leases import LEASE_S, MAX_ATTEMPTS
from core.runs import Run
from core.store.database import Database
from core.store.store import Store
from tests.core.run_steps import LATE, NOW, claim, finish, get, num_in_state, request, start
from tests.support.concurrency import overlapping


@pytest.fixture
def db(store: Store) -> Database:
    return store.db


def test_run_with_an_expired_lease_is_taken_over(db: Database) -> None:
    run = start(db)
    again = claim(db, "b", LATE)
    assert again is not None
    assert (again.id, again.owner, again.attempts, again.state) == (run.id, "b", 2, "running")
    assert again.started_at == NOW


def test_run_that_loses_its_trainer_too_often_fails(db: Database) -> None:
    run = start(db)
    now = NOW
    for _ in range(MAX_ATTEMPTS - 1):
        now += LEASE_S + 1
        assert claim(db, "a", now) is not None
    assert claim(db, "a", now + LEASE_S + 1) is None
    found = get(db, run.id)
    assert (found.state, found.step, found.attempts) == ("failed", "failed", MAX_ATTEMPTS)
    assert found.error == "its trainer stopped responding (attempt 3 of 3)"
    assert found.finished_at == now + LEASE_S + 1


def test_run_whose_trainer_died_goes_on_before_a_newer_one(db: Database) -> None:
    dead, newer = start(db), request(db)
    claimed = claim(db, "b", LATE)
    assert claimed is not None
    assert (claimed.id, claimed.attempts) == (dead.id, 2)
    assert get(db, newer.id).state == "waiting"
    assert finish(db, dead.id, "b")
    after = claim(db, "b", LATE)
    assert after is not None
    assert after.id == newer.id


def test_request_during_a_takeover_waits(db: Database) -> None:
    """On PostgreSQL the trainer has seen no waiting run when the request commits."""
    dead = start(db)
    (newer, _), claimed = overlapping(
        db,
        lambda conn: runs.request(conn, trigger="request", now=LATE),
        lambda conn: leases.claim(conn, "b", LATE),
    )
    assert claimed is not None
    assert claimed.id == dead.id
    assert get(db, newer.id).state == "waiting"


@pytest.mark.parametrize("set_back_s", [3600.0, LEASE_S + 1])
def test_clock_that_is_set_back_keeps_no_lease_alive(db: Database, set_back_s: float) -> None:
    dead = start(db)
    assert leases.is_to_do(get(db, dead.id), NOW - set_back_s)
    claimed = claim(db, "b", NOW - set_back_s)
    assert claimed is not None
    assert (claimed.id, claimed.owner) == (dead.id, "b")


def test_two_takeovers_that_overlap_count_one_attempt(db: Database) -> None:
    run = start(db)
    first, second = overlapping(
        db, lambda conn: leases.claim(conn, "b", LATE), lambda conn: leases.claim(conn, "c", LATE)
    )
    assert first is not None
    assert second is None
    assert (get(db, run.id).owner, get(db, run.id).attempts) == ("b", 2)


def test_cancelled_run_whose_trainer_died_is_cancelled(db: Database) -> None:
    run = start(db)
    with db.write() as conn:
        runs.cancel(conn, run.id, NOW)
    assert claim(db, "b", LATE) is None
    found = get(db, run.id)
    assert (found.state, found.step, found.finished_at) == ("cancelled", "cancelled", LATE)


def hand_back(conn: Connection, run: Run, owner: str = "a") -> None:
    leases.hand_back(conn, run.id, owner, NOW + 3)


def test_run_handed_back_waits_and_keeps_its_attempts(db: Database) -> None:
    run = start(db)
    with db.write() as conn:
        hand_back(conn, run)
    found = get(db, run.id)
    assert (found.state, found.owner, found.attempts) == ("waiting", None, 0)
    again = claim(db, "b", NOW + 4)
    assert again is not None
    assert (again.id, again.attempts) == (run.id, 1)


def test_run_handed_back_goes_on_before_a_newer_one(db: Database) -> None:
    run, newer = start(db), request(db)
    with db.write() as conn:
        hand_back(conn, run)
    assert leases.is_to_do(get(db, run.id), NOW + 3)
    again = claim(db, "b", NOW + 4)
    assert again is not None
    assert (again.id, again.attempts) == (run.id, 1)
    assert get(db, newer.id).state == "waiting"


def test_run_handed_back_and_then_cancelled_is_cancelled(db: Database) -> None:
    run, newer = start(db), request(db)
    with db.write() as conn:
        hand_back(conn, run)
        runs.cancel(conn, run.id, NOW + 4)
    claimed = claim(db, "b", NOW + 5)
    assert claimed is not None
    assert claimed.id == newer.id
    assert get(db, run.id).state == "cancelled"


def test_request_during_a_hand_back_waits_behind_the_run(db: Database) -> None:
    run = start(db)
    overlapping(
        db,
        lambda conn: runs.request(conn, trigger="request", now=NOW),
        lambda conn: hand_back(conn, run),
    )
    again = claim(db, "b", NOW + 4)
    assert again is not None
    assert again.id == run.id
    assert num_in_state(db, "waiting") == 1


def test_run_cancelled_before_it_is_handed_back_does_not_wait(db: Database) -> None:
    run = start(db)
    with db.write() as conn:
        runs.cancel(conn, run.id, NOW)
        hand_back(conn, run)
    found = get(db, run.id)
    assert (found.state, found.reason) == ("cancelled", "cancelled on request")
    assert found.finished_at == NOW + 3


def test_only_the_owner_hands_back_or_ends_a_run(db: Database) -> None:
    run = start(db)
    with db.write() as conn:
        hand_back(conn, run, "b")
    assert not finish(db, run.id, "b")
    assert get(db, run.id) == run
