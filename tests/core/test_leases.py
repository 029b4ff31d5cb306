from __future__ import annotations

import itertools

import pytest
from sqlalchemy import Connection

from core import leases, runs
from core.leases import LEASE_S, MAX_ATTEMPTS
from core.runs import Run
from core.store.database import Database
from core.store.store import Store
from tests.core.run_steps import LATE, NOW, claim, finish, get, num_in_state, request, start
from tests.support.concurrency import in_threads, overlapping


@pytest.fixture
def db(store: Store) -> Database:
    return store.db


def test_claimed_run_is_running_under_its_owner(db: Database) -> None:
    asked = request(db)
    run = claim(db, "a", NOW + 1)
    assert run is not None
    assert (run.id, run.state, run.owner, run.attempts) == (asked.id, "running", "a", 1)
    assert run.heartbeat_at == run.started_at == NOW + 1


def test_claim_without_a_waiting_run_gets_nothing(db: Database) -> None:
    assert claim(db) is None


def test_claims_from_many_threads_go_to_one(db: Database) -> None:
    for _ in range(5):
        request(db)
        claimed = in_threads(6, lambda i: claim(db, f"owner {i}"))
        (winner,) = [run for run in claimed if run is not None]
        assert num_in_state(db, "running") == 1
        assert finish(db, winner.id, str(winner.owner))


def test_two_claims_that_overlap_go_to_the_first(db: Database) -> None:
    request(db)
    first, second = overlapping(
        db, lambda conn: leases.claim(conn, "a", NOW), lambda conn: leases.claim(conn, "b", NOW)
    )
    assert first is not None
    assert first.owner == "a"
    assert second is None


def test_at_most_one_run_waits_and_one_runs_at_any_time(db: Database) -> None:
    """Six trainers request, claim, end and die concurrently; a lease lasts three steps."""
    clock = itertools.count()

    def trainer(i: int) -> int:
        num_ended = 0
        for n in range(15):
            now = NOW + next(clock) * LEASE_S / 3
            request(db, now)
            run = claim(db, f"owner {i}", now)
            assert num_in_state(db, "running") <= 1
            assert num_in_state(db, "waiting") <= 1
            if run is not None and (i + n) % 3:
                num_ended += finish(db, run.id, f"owner {i}")
        return num_ended

    assert sum(in_threads(6, trainer)) == num_in_state(db, "finished") > 0


def test_valid_lease_is_respected(db: Database) -> None:
    start(db)
    request(db)
    assert claim(db, "b", NOW + LEASE_S - 0.01) is None


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


def test_beat_renews_the_lease_and_shows_progress(db: Database) -> None:
    run = start(db)
    with db.write() as conn:
        assert leases.beat(conn, run.id, "a", NOW + 10, "embedding", 0.25)
    found = get(db, run.id)
    assert (found.step, found.progress, found.heartbeat_at) == ("embedding", 0.25, NOW + 10)
    assert claim(db, "b", LATE) is None


@pytest.mark.parametrize("why", ["cancelled", "lost to another", "failed for good", "finished"])
def test_beat_is_refused_once_the_run_is_no_longer_held(db: Database, why: str) -> None:
    run = start(db)
    if why == "cancelled":
        with db.write() as conn:
            runs.cancel(conn, run.id, NOW)
    elif why == "lost to another":
        claim(db, "b", LATE)
    elif why == "failed for good":
        request(db)
        claim(db, "b", LATE)
    else:
        finish(db, run.id)
    with db.write() as conn:
        assert not leases.beat(conn, run.id, "a", LATE + 1, "training", 0.5)


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


def test_quick_and_long_runs_do_not_wait_for_each_other(db: Database) -> None:
    with db.write() as conn:
        quick, is_quick_new = runs.request(conn, trigger="labels", now=NOW)
        long, is_long_new = runs.request(conn, trigger="labels", now=NOW, tier=runs.LONG[0])
        assert (is_quick_new, is_long_new) == (True, True)
        found = [leases.claim(conn, "a", NOW), leases.claim(conn, "b", NOW, runs.LONG)]
    assert [run.id for run in found if run is not None] == [quick.id, long.id]
    assert claim(db, "c") is None


def test_takeover_leaves_runs_of_other_tiers_alone(db: Database) -> None:
    run = start(db)
    with db.write() as conn:
        runs.request(conn, trigger="labels", now=NOW, tier=runs.LONG[0])
        assert leases.claim(conn, "b", LATE, runs.LONG) is not None
    assert get(db, run.id) == run


def test_long_run_does_not_delay_a_quick_one(db: Database) -> None:
    with db.write() as conn:
        long, _ = runs.request(conn, trigger="request", now=NOW, tier="blocks")
        quick, _ = runs.request(conn, trigger="request", now=NOW)
        assert long.id != quick.id
        claimed = leases.claim(conn, "child", NOW, runs.LONG)
        assert claimed is not None
        assert claimed.id == long.id
        claimed = leases.claim(conn, "trainer", NOW)
        assert claimed is not None
        assert claimed.id == quick.id
