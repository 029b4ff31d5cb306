"""Progress of a run: which thread computes, which writes, and how the lease is renewed."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from core import leases, runs
from core.runs import Run
from core.store.store import Store
from tests.training.digits_store import digits_of, label, retrain
from training.head import fit as fitting
from training.pipeline.progress import Progress, RunCancelled
from training.worker.trainer import Trainer


def claimed(store: Store) -> Run:
    with store.db.write() as conn:
        runs.request(conn, trigger="request", now=store.db.clock())
        run = leases.claim(conn, "me", store.db.clock())
    assert run is not None
    return run


def state(store: Store, run: Run) -> Run:
    with store.db.read() as conn:
        return runs.get(conn, run.id)


def progress_of(store: Store, run: Run) -> Progress:
    return Progress(store, run, "me", lambda: False, lambda now: None)


def test_lease_is_renewed_during_a_long_step(starter_store: Store) -> None:
    run = claimed(starter_store)
    before = state(starter_store, run).heartbeat_at or 0.0
    time.sleep(0.01)
    progress_of(starter_store, run).renew_lease()
    assert (state(starter_store, run).heartbeat_at or 0.0) > before


def test_cancellation_is_raised_by_a_report_and_not_by_renewing_the_lease(
    starter_store: Store,
) -> None:
    run = claimed(starter_store)
    progress = progress_of(starter_store, run)
    with starter_store.db.write() as conn:
        runs.cancel(conn, run.id, time.time())
    progress.renew_lease()
    with pytest.raises(RunCancelled):
        progress.report("training", 0.5)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux only")
def test_run_computes_at_idle_priority_and_writes_at_normal_priority(
    starter_store: Store,
    trainer: Trainer,
    idle_writers: set[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Predictions wait for SQLite's write lock, so an idle thread must never hold it."""
    computing: set[int] = set()
    fit = fitting.fit

    def noted_fit(*args: Any, **options: Any) -> Any:
        computing.add(os.sched_getscheduler(0))
        return fit(*args, **options)

    monkeypatch.setattr(fitting, "fit", noted_fit)
    # However busy the machine that runs the tests is.
    monkeypatch.setattr("core.system.background._is_a_cpu_idle", lambda _: True)
    label(starter_store, digits_of("two", "five")[:20])
    assert retrain(starter_store, trainer).outcome == "promoted"
    assert computing == {os.SCHED_IDLE}
    assert idle_writers == {False}


def test_lease_renewed_for_work_that_gets_no_core_says_so(starter_store: Store) -> None:
    run = claimed(starter_store)
    progress = progress_of(starter_store, run)
    progress.report("training", 0.5)
    progress.renew_lease(True)
    assert state(starter_store, run).step == "waiting for a core"
    progress.renew_lease(False)
    assert state(starter_store, run).step == "training"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux only")
def test_starved_run_is_done_at_low_priority_in_the_same_attempt(
    starter_store: Store, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies: list[int] = []

    def is_starved() -> bool:
        policies.append(os.sched_getscheduler(0))
        return policies[-1] == os.SCHED_IDLE and len(policies) > 3

    monkeypatch.setattr("core.system.background._is_a_cpu_idle", lambda _: True)
    monkeypatch.setattr("training.pipeline.progress.is_starved", is_starved)
    label(starter_store, digits_of("two", "five")[:20])
    run = retrain(starter_store, trainer)
    assert (run.outcome, run.attempts) == ("promoted", 1)
    assert policies[0] == os.SCHED_IDLE
    assert policies[-1] == os.SCHED_OTHER
