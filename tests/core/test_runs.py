from __future__ import annotations

import pytest
from sqlalchemy import update

from core import leases, runs
from core.errors import RunFinished, UnknownRun
from core.runs import Run
from core.store.database import Database
from core.store.schema import runs as table
from core.store.store import Store
from tests.core.run_steps import NOW, claim, finish, get, num_in_state, request, start
from tests.support.concurrency import in_threads, overlapping


@pytest.fixture
def db(store: Store) -> Database:
    return store.db


def test_requests_coalesce_into_the_waiting_run(db: Database) -> None:
    with db.write() as conn:
        first, is_first_new = runs.request(conn, trigger="labels", now=NOW)
        again, is_again_new = runs.request(conn, trigger="request", now=NOW + 1)
    assert (is_first_new, is_again_new) == (True, False)
    assert again == first
    assert (first.state, first.trigger, first.created_at) == ("waiting", "labels", NOW)


def test_epoch_that_is_done_again_replaces_those_after(db: Database) -> None:
    run = request(db)
    for number, loss in ((1, 0.9), (2, 0.8), (2, 0.7), (3, 0.6), (1, 0.5)):
        with db.write() as conn:
            runs.add_epoch(conn, run.id, {"epoch": number, "training": loss})
        if number == 3:
            found = get(db, run.id).parameters["epochs"]
            assert [each["training"] for each in found] == [0.9, 0.7, 0.6]
    assert get(db, run.id).parameters["epochs"] == [{"epoch": 1, "training": 0.5}]


def test_requests_from_many_threads_make_one_run(db: Database) -> None:
    def request(i: int) -> tuple[Run, bool]:
        with db.write() as conn:
            return runs.request(conn, trigger=f"thread {i}", now=NOW)

    answers = in_threads(8, request)
    assert sum(is_new for _, is_new in answers) == 1
    assert len({run.id for run, _ in answers}) == 1
    assert num_in_state(db, "waiting") == 1


def test_request_during_a_run_waits_behind_it(db: Database) -> None:
    running, waiting = start(db), request(db)
    assert waiting.id != running.id
    assert claim(db, "b") is None
    with db.read() as conn:
        assert {run.id for run in runs.unfinished(conn)} == {running.id, waiting.id}


def test_request_concurrent_with_a_claim_makes_a_new_run(db: Database) -> None:
    waiting = request(db)
    claimed, (asked, is_new) = overlapping(
        db,
        lambda conn: leases.claim(conn, "a", NOW),
        lambda conn: runs.request(conn, trigger="request", now=NOW),
    )
    assert claimed is not None
    assert claimed.id == waiting.id
    assert is_new
    assert asked.id != waiting.id


def test_waiting_run_is_cancelled_immediately(db: Database) -> None:
    run = request(db)
    with db.write() as conn:
        found = runs.cancel(conn, run.id, NOW + 1)
    assert (found.state, found.finished_at) == ("cancelled", NOW + 1)
    assert claim(db) is None


def test_running_run_is_requested_to_stop(db: Database) -> None:
    run = start(db)
    with db.write() as conn:
        found = runs.cancel(conn, run.id, NOW + 1)
        again = runs.cancel(conn, run.id, NOW + 2)
    assert (found.state, found.is_cancel_requested, found.finished_at) == ("running", True, None)
    assert again == found
    assert finish(db, run.id, state="cancelled", reason="cancelled on request")
    assert get(db, run.id).state == "cancelled"


def test_cancel_concurrent_with_a_claim_still_stops_the_run(db: Database) -> None:
    run = request(db)
    _, found = overlapping(
        db,
        lambda conn: leases.claim(conn, "a", NOW),
        lambda conn: runs.cancel(conn, run.id, NOW),
    )
    assert (found.state, found.is_cancel_requested) == ("running", True)


@pytest.mark.parametrize("state", ["finished", "failed", "cancelled"])
def test_ended_run_cannot_be_cancelled(db: Database, state: str) -> None:
    run = start(db)
    finish(db, run.id, state=state)
    with pytest.raises(RunFinished, match=state), db.write() as conn:
        runs.cancel(conn, run.id, NOW)


@pytest.mark.parametrize("run_id", ["", "nope", "x" * 1000, "\x00", "\ud800"], ids=range(5))
def test_unknown_run_is_refused(db: Database, run_id: str) -> None:
    with db.write() as conn:
        with pytest.raises(UnknownRun):
            runs.get(conn, run_id)
        with pytest.raises(UnknownRun):
            runs.cancel(conn, run_id, NOW)


def test_newest_parameters_of_a_waiting_run_hold(db: Database) -> None:
    with db.write() as conn:
        for wanted in ({"depth": 1}, {"depth": 2}, None):
            run, _ = runs.request(conn, trigger="request", now=NOW, tier="blocks", wanted=wanted)
        runs.set_snapshot(conn, run.id, 3, {"epochs": 4}, 2)
    assert get(db, run.id).parameters == {
        "wanted": {"depth": 2},
        "recipe": {"epochs": 4},
        "num_trained": 2,
    }


def test_end_of_a_run_is_stored_with_its_outcome(db: Database) -> None:
    run = start(db)
    assert finish(db, run.id, outcome="promoted", version=7, reason="it is better")
    found = get(db, run.id)
    assert found.is_finished
    assert (found.outcome, found.version, found.reason) == ("promoted", 7, "it is better")
    assert (found.progress, found.step, found.finished_at) == (1.0, "finished", NOW + 5)
    assert not finish(db, run.id)


def test_snapshot_and_parameters_are_stored_with_the_run(db: Database) -> None:
    run = start(db)
    with db.write() as conn:
        runs.set_snapshot(conn, run.id, 12, {"head": {"l2": 0.5}}, 2)
    found = get(db, run.id)
    assert found.snapshot == 12
    assert found.parameters == {"recipe": {"head": {"l2": 0.5}}, "num_trained": 2}


def test_newest_snapshot_counts_finished_runs_only(db: Database) -> None:
    with db.read() as conn:
        assert runs.newest_snapshot(conn) == 0
    for snapshot, state in ((5, "finished"), (9, "failed"), (3, "finished")):
        run = start(db)
        with db.write() as conn:
            runs.set_snapshot(conn, run.id, snapshot, {}, 2)
        finish(db, run.id, state=state)
    with db.read() as conn:
        assert runs.newest_snapshot(conn) == 5


def test_runs_are_listed_newest_first(db: Database) -> None:
    made = []
    for n in range(3):
        made.append(start(db, now=NOW + n))
        finish(db, made[-1].id)
    with db.write() as conn:
        last = made[1].id
        conn.execute(update(table).where(table.c.id == last).values(finished_at=NOW + 60))
    with db.read() as conn:
        assert [run.id for run in runs.listing(conn, 2)] == [made[2].id, made[1].id]
        ended_last = runs.last_of(conn)
    assert ended_last is not None
    assert ended_last.id == last


def test_newer_request_replaces_the_parameters_of_the_waiting_run(db: Database) -> None:
    with db.write() as conn:
        first, _ = runs.request(conn, trigger="a", now=NOW, tier="blocks", wanted={"minutes": 5})
        again, is_new = runs.request(
            conn, trigger="b", now=NOW, tier="blocks", wanted={"minutes": 9}
        )
    assert (again.id, is_new) == (first.id, False)
    assert again.parameters == {"wanted": {"minutes": 9}}
