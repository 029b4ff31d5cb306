"""Follow a run to its end with a progress bar, and do it in this process if no trainer runs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from sqlalchemy import Connection

from cli.console import err, out
from cli.exit_codes import DONE, FAILED, INTERRUPTED, STATE
from core import leases, runs
from core.registry import workers
from core.runs import Run
from core.settings import Settings
from core.store.store import Store

_POLL_EVERY_S = 0.1


def has_trainer(conn: Connection, now: float) -> bool:
    """Return whether a trainer is alive. One that is busy renews the heartbeat of its run only."""
    running = [run for run in runs.unfinished(conn) if run.state == "running"]
    is_training = any(leases.is_valid(run, now) for run in running)
    return is_training or bool(workers.live(conn, now, "trainer"))


def follow(store: Store, settings: Settings, run_id: str) -> int:
    """Show the run until it ends. Returns the exit code."""
    with contextlib.ExitStack() as stack:
        own_trainer: threading.Thread | None = None
        progress = stack.enter_context(_progress())
        task = progress.add_task("waiting", total=1.0)
        try:
            while True:
                now = store.db.clock()
                with store.db.read() as conn:
                    run = runs.get(conn, run_id)
                    has_live_trainer = own_trainer is not None or has_trainer(conn, now)
                progress.update(task, description=run.step, completed=run.progress)
                if run.is_finished:
                    break
                if not has_live_trainer:
                    own_trainer = stack.enter_context(_trainer(settings, run))
                if own_trainer is not None and not own_trainer.is_alive():
                    return FAILED  # it has logged why
                time.sleep(_POLL_EVERY_S)
        except KeyboardInterrupt:
            where = "waits for another trainer" if own_trainer else "continues"
            err.print(f"Stopped following; run {run_id} {where}.", soft_wrap=True)
            return INTERRUPTED
    code = _report(run)
    _report_waiting_blocks(store)
    return code


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description:<15}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=err, disable=not err.is_terminal)


@contextlib.contextmanager
def _trainer(settings: Settings, run: Run) -> Iterator[threading.Thread]:
    """Do the run, and no other, in a thread of this process. Leaving it hands the run back."""
    # Imported here: requesting a run needs none of it.
    from training.worker.requested_run import RequestedRun

    err.print("No trainer is running: training in this process.")
    requested = RequestedRun.open(settings, run)
    thread = threading.Thread(target=requested.serve, name="trainer")
    thread.start()
    try:
        yield thread
    finally:
        requested.stop()
        thread.join()


def _report_waiting_blocks(store: Store) -> None:
    """Say how a run that the planner requested is done, if no trainer will do it."""
    with store.db.read() as conn:
        waiting = runs.in_state(conn, "waiting", "blocks")
        if waiting is None or has_trainer(conn, store.db.clock()):
            return
    err.print(
        f"blocks run {waiting.id} is waiting: start `evergreen serve` or `evergreen worker`, or "
        "run `evergreen retrain --blocks --wait`.",
        soft_wrap=True,
    )


def _report(run: Run) -> int:
    took = f"{(run.finished_at or 0.0) - (run.started_at or run.created_at):.1f} s"
    if run.state != "finished":
        err.print(f"evergreen: the run {run.state}: {run.error or run.reason}", soft_wrap=True)
        return FAILED
    if run.outcome == "promoted":
        out.print(f"Version {run.version} is the champion ({took}).")
    else:
        out.print(f"Version {run.version} was held back ({took}).")
    out.print(run.reason or "", soft_wrap=True)
    return DONE if run.outcome == "promoted" else STATE
