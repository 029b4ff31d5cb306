"""`evergreen retrain`: ask for a run, and with --wait follow it to its end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from sqlalchemy import Connection

from cli import home
from cli.console import notes, out
from cli.exit_codes import DONE, FAILED, INTERRUPTED, STATE
from core import runs, training_data, workers
from core.runs import Run
from core.settings import Settings, load_settings
from core.store import Store

_LOOK_EVERY_S = 0.1


def retrain(
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Follow the run; train right here if no trainer is at work."),
    ] = False,
) -> None:
    """Train on everything labelled so far.

    With --wait the exit code is 0 if the new version was promoted, 3 if the gate held it back, and
    1 if the run failed or was cancelled.
    """
    settings = load_settings()
    with home.opened_existing(settings) as store:
        now = time.time()
        with store.db.write() as conn:
            training_data.require_enough(conn)
            run, is_new = runs.request(conn, trigger="request", now=now)
            is_manned = _has_trainer(conn, now)
        if wait:
            raise typer.Exit(_follow(store, settings, run.id))
        out.print(f"Run {run.id} is asked for." if is_new else f"Run {run.id} waits already.")
        out.print(
            "Follow it: evergreen status"
            if is_manned
            else "No trainer is at work: start `evergreen serve` or `evergreen worker`, or train "
            "right here with `evergreen retrain --wait`."
        )


def _has_trainer(conn: Connection, now: float) -> bool:
    """A trainer that is busy with a run shows it by the run's heartbeat."""
    busy = [run for run in runs.unfinished(conn) if run.state == "running"]
    is_busy = any(now - (run.heartbeat_at or 0.0) < runs.LEASE_S for run in busy)
    return is_busy or bool(workers.live(conn, now, "trainer"))


def _follow(store: Store, settings: Settings, run_id: str) -> int:
    """Show the run until it ends. Returns the exit code."""
    with contextlib.ExitStack() as stack:
        here: threading.Thread | None = None
        progress = stack.enter_context(_progress())
        task = progress.add_task("waiting", total=1.0)
        try:
            while True:
                now = time.time()
                with store.db.read() as conn:
                    run = runs.get(conn, run_id)
                    is_manned = here is not None or _has_trainer(conn, now)
                progress.update(task, description=run.step, completed=run.progress)
                if run.is_finished:
                    break
                if not is_manned:
                    here = stack.enter_context(_trainer(settings))
                if here is not None and not here.is_alive():
                    return FAILED  # it has said why
                time.sleep(_LOOK_EVERY_S)
        except KeyboardInterrupt:
            where = "waits for another trainer" if here else "goes on"
            notes.print(f"Stopped looking; run {run_id} {where}.", soft_wrap=True)
            return INTERRUPTED
    return _report(run)


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description:<15}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=notes, disable=not notes.is_terminal)


@contextlib.contextmanager
def _trainer(settings: Settings) -> Iterator[threading.Thread]:
    """Train in this process, as `evergreen worker` does in its own."""
    # Imported here: whoever only asks for a run needs none of it.
    from training.worker import Trainer

    notes.print("No trainer is at work: training right here.")
    trainer = Trainer.open(settings)
    thread = threading.Thread(target=trainer.serve, name="trainer")
    thread.start()
    try:
        yield thread
    finally:
        trainer.stop()
        thread.join()


def _report(run: Run) -> int:
    took = f"{(run.finished_at or 0.0) - (run.started_at or run.created_at):.1f} s"
    if run.state != "finished":
        notes.print(f"evergreen: the run {run.state}: {run.error or run.reason}", soft_wrap=True)
        return FAILED
    if run.outcome == "promoted":
        out.print(f"Version {run.version} is the champion ({took}).")
    else:
        out.print(f"Version {run.version} was held back ({took}).")
    out.print(run.reason or "", soft_wrap=True)
    return DONE if run.outcome == "promoted" else STATE
