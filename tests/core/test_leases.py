from __future__ import annotations

import itertools

import pytest

from core import leases, runs
from core.leases import LEASE_S
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
