"""`evergreen retrain`: request a run, and with --wait follow it to its end."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import home
from cli.actor import actor
from cli.console import out
from cli.follow_run import follow, has_trainer
from core import runs
from core.errors import InvalidRequest
from core.labelling.census import require_enough
from core.settings import load_settings


def retrain(
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Follow the run. Do it in this process if no trainer is running."
        ),
    ] = False,
    blocks: Annotated[
        bool,
        typer.Option(
            "--blocks", help="Also fine-tune the last blocks of the backbone (needs torch)."
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.1, help="Time limit of fine-tuning. The best state until then is kept."),
    ] = None,
) -> None:
    """Train on all labels so far.

    With --wait and no trainer, this process does the run that you asked for and no other. Ctrl-C
    lets the run wait again.

    With --wait the exit code is 0 if the new version was promoted, 3 if the gate held it back, and
    1 if the run failed or was cancelled.
    """
    if minutes and not blocks:
        raise InvalidRequest("--minutes is for fine-tuning: add --blocks")
    settings = load_settings()
    with home.opened_existing(settings) as store:
        now = store.db.clock()
        with store.db.write() as conn:
            require_enough(conn)
            run, is_new = runs.request(
                conn,
                trigger="request",
                now=now,
                tier="blocks" if blocks else "head",
                wanted={"minutes": minutes} if blocks and minutes else None,
                by=actor(),
            )
            has_live_trainer = has_trainer(conn, now)
        if wait:
            raise typer.Exit(follow(store, settings, run.id))
        out.print(f"Run {run.id} is requested." if is_new else f"Run {run.id} waits already.")
        out.print(
            "Follow it: evergreen status"
            if has_live_trainer
            else "No trainer is running: start `evergreen serve` or `evergreen worker`, or train "
            "in this process with `evergreen retrain --wait`."
        )
