"""`evergreen promote` and `evergreen rollback`: request a promotion, and wait for its end.

This process advances the promotion too, because no server may be running.
"""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cli import home
from cli.actor import actor
from cli.console import count, err, out
from cli.exit_codes import FAILED
from core.registry import promotions, version_files, workers
from core.registry.promotions import Promotion
from core.registry.rollback import choose
from core.registry.wait import wait_for_promotion
from core.settings import load_settings
from core.store.store import Store

WHO = "command line"

_Why = Annotated[str, typer.Option(help="The reason, stored with the change.")]


def promote(
    number: Annotated[int, typer.Argument(metavar="N", help="The number of the version.")],
    why: _Why = "on request",
) -> None:
    """Make a version the champion.

    Waits until all serving processes use it.
    """
    with home.opened_existing(load_settings()) as store:
        with store.db.read() as conn:
            live = promotions.newest_activation(conn)
            is_pending = promotions.pending(conn) is not None
        if live is not None and live.version == number and not is_pending:
            out.print(f"Version {number} is the champion already.")
            return
        version_files.check_loadable(number, store)
        with store.db.write() as conn:
            now = store.db.clock()
            promotion = promotions.request(conn, number, who=WHO, why=why, now=now, by=actor())
        _wait(store, promotion)


def rollback(why: _Why = "rollback") -> None:
    """Go back to the previous champion.

    A second rollback goes back further. A version whose files are lost is skipped.
    `evergreen promote N` takes any version.
    """
    with home.opened_existing(load_settings()) as store:
        target = choose(store)
        for reason in target.skipped:
            err.print(f"Skipped: {reason}", soft_wrap=True)
        with store.db.write() as conn:
            promotion = promotions.request(
                conn,
                target.version,
                who=WHO,
                why=why,
                now=store.db.clock(),
                expected_activation=target.live.id,
                by=actor(),
            )
        _wait(store, promotion)


def _wait(store: Store, promotion: Promotion) -> None:
    """Wait until the promotion is activated and say so, or say why it failed and exit."""
    started = time.monotonic()
    with err.status(f"Waiting for the servers to load version {promotion.version}"):
        result = wait_for_promotion(store.db, promotion.id, wait_s=load_settings().load_within_s)
    if result.activate_at is None:
        err.print(
            f"evergreen: version {promotion.version} did not become champion: {result.error}; "
            "the previous one still serves",
            soft_wrap=True,
        )
        raise typer.Exit(FAILED)
    with store.db.read() as conn:
        serving = workers.live(conn, store.db.clock(), "serving")
    where = f"on {count(len(serving), 'serving process')}" if serving else "no server is running"
    out.print(
        f"Version {promotion.version} is the champion "
        f"({where}, {time.monotonic() - started:.2f} s)."
    )
