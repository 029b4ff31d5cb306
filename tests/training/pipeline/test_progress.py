"""Progress of a run: who computes, who writes, and how the lease is kept."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from core import leases, runs
from core.runs import Run
from core.store.store import Store
from tests.training.digits_store import label, of, retrain
from training.head import fit as fitting
from training.pipeline.progress import Progress, Stopped
from training.worker.trainer import Trainer


def claimed(store: Store) -> Run:
    with store.db.write() as conn:
        runs.request(conn, trigger="request", now=time.time())
        run = leases.claim(conn, "me", time.time())
    assert run is not None
    return run


def state(store: Store, run: Run) -> Run:
    with store.db.read() as conn:
        return runs.get(conn, run.id)


def of_run(store: Store, run: Run) -> Progress:
    return Progress(store, run, "me", lambda: False, lambda now: None)


def test_the_lease_of_a_step_that_takes_long_is_kept(school_store: Store) -> None:
    run = claimed(school_store)
    before = state(school_store, run).heartbeat_at or 0.0
    time.sleep(0.01)
    of_run(school_store, run).keep()
    assert (state(school_store, run).heartbeat_at or 0.0) > before


def test_whether_to_go_on_is_told_to_the_work_and_not_to_who_keeps_the_lease(
    school_store: Store,
) -> None:
    run = claimed(school_store)
    progress = of_run(school_store, run)
    with school_store.db.write() as conn:
        runs.cancel(conn, run.id, time.time())
    progress.keep()
    with pytest.raises(Stopped):
        progress.tell("training", 0.5)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux only")
def test_a_run_computes_at_idle_priority_and_writes_at_its_own(
    school_store: Store,
    trainer: Trainer,
    idle_writers: set[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Predictions wait for whoever holds SQLite's lock: it must not stand still meanwhile."""
    computing: set[int] = set()
    fit = fitting.fit

    def noted_fit(*args: Any, **options: Any) -> Any:
        computing.add(os.sched_getscheduler(0))
        return fit(*args, **options)

    monkeypatch.setattr(fitting, "fit", noted_fit)
    # However busy the machine that runs the tests is.
    monkeypatch.setattr("core.system.background._is_a_cpu_idle", lambda _: True)
    label(school_store, of("two", "five")[:20])
    assert retrain(school_store, trainer).outcome == "promoted"
    assert computing == {os.SCHED_IDLE}
    assert idle_writers == {False}
