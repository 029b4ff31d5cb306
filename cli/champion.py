"""`evergreen promote` and `evergreen rollback`: the champion changes hands, and we see it through.

With no server alive there is nobody else to move a promotion on, so this does.
"""

from __future__ import annotations

import time
from typing import Annotated

import typer
from sqlalchemy import Connection

from cli import home
from cli.console import count, err, out
from cli.exit_codes import FAILED
from core.errors import NotReady
from core.registry import activations, promotions, workers
from core.registry.promotions import Activation, Promotion
from core.registry.wait import wait_for_promotion
from core.settings import load_settings
from core.store.store import Store

WHO = "command line"

_Why = Annotated[str, typer.Option(help="Kept beside the change, for those who come after.")]


def promote(
    number: Annotated[int, typer.Argument(metavar="N", help="The number of the version.")],
    why: _Why = "on request",
) -> None:
    """Make a version the champion.

    Waits until every serving process answers with it.
    """
    with home.opened_existing(load_settings()) as store:
        with store.db.read() as conn:
            live = promotions.newest_activation(conn)
            is_waiting = promotions.pending(conn) is not None
        if live is not None and live.version == number and not is_waiting:
            out.print(f"Version {number} is the champion already.")
            return
        with store.db.write() as conn:
            promotion = promotions.request(conn, number, who=WHO, why=why, now=time.time())
        _see_through(store, promotion)


def rollback(why: _Why = "rollback") -> None:
    """Go back to the champion before this.

    A second rollback goes further back; `evergreen promote N` goes anywhere.
    """
    with home.opened_existing(load_settings()) as store:
        with store.db.write() as conn:
            live, target = _live(conn), activations.version_before(conn)
            if target is None:
                raise NotReady(
                    f"there is nothing to go back to: version {live.version} is the first champion"
                )
            promotion = promotions.request(
                conn, target, who=WHO, why=why, now=time.time(), expected_activation=live.id
            )
        _see_through(store, promotion)


def _live(conn: Connection) -> Activation:
    live = promotions.newest_activation(conn)
    if live is None:
        raise NotReady("no version has been champion yet; make version 1 with `evergreen init`")
    return live


def _see_through(store: Store, promotion: Promotion) -> None:
    """Wait until it is activated, and say so; or say why it is not, and exit."""
    started = time.monotonic()
    with err.status(f"Waiting for the servers to load version {promotion.version}"):
        ended = wait_for_promotion(store.db, promotion.id)
    if ended.activate_at is None:
        err.print(
            f"evergreen: version {promotion.version} did not become champion: {ended.error}; "
            "the one before goes on answering",
            soft_wrap=True,
        )
        raise typer.Exit(FAILED)
    with store.db.read() as conn:
        serving = workers.live(conn, time.time(), "serving")
    where = f"on {count(len(serving), 'serving process')}" if serving else "no server is running"
    out.print(
        f"Version {promotion.version} is the champion "
        f"({where}, {time.monotonic() - started:.2f} s)."
    )
