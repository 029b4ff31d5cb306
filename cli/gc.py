"""`evergreen gc`: delete now what the recipe lets go, or say what that would be."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Generator, Sequence
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from cli import home
from cli.actor import actor
from cli.console import err, out, print_json, table
from cli.exit_codes import DONE, INTERRUPTED
from core.errors import NotReady
from core.ids import new_id
from core.retention.lease import LEASE_S
from core.retention.leased_sweep import LeasedSweep
from core.retention.sweep import Sweeper, Swept
from core.settings import Settings, load_settings
from core.store.store import Store


def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted, and why.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Delete what the recipe says is too old.

    The trainer does the same every ten minutes. The server may run meanwhile. Ctrl-C ends it after
    a few files, and what is left is for the next time.
    """
    settings = load_settings()
    with home.opened_existing(settings) as store:
        sweeper = _sweeper(store, settings)
        if dry_run:
            _print(sweeper.plan(store.db.clock()), "Would go", json)
            return
        deleted, has_ended = _sweep(LeasedSweep(sweeper, new_id(), store.db.clock))
    _print(deleted, "Deleted", json)
    raise typer.Exit(DONE if has_ended else INTERRUPTED)


def _sweeper(store: Store, settings: Settings) -> Sweeper:
    # Imported here: a misspelled key anywhere in the recipe is an error before anything is deleted.
    from training.recipe import load_recipe

    recipe = load_recipe(settings.recipe)
    cache = settings.home / "cache"
    return Sweeper(
        store, recipe.capture, recipe.retention, cache, settings.shadow_versions, actor()
    )


def _sweep(sweep: LeasedSweep) -> tuple[list[Swept], bool]:
    """Returns what was deleted by kind, and whether it came to its end."""
    _wait_for_lease(sweep)
    items: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    has_ended = False
    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("Sweeping", total=None)
        pieces: Generator[Swept, None, None] = sweep.pieces()
        with contextlib.suppress(KeyboardInterrupt), contextlib.closing(pieces):
            for swept in pieces:
                items[swept.kind] += swept.num_items
                sizes[swept.kind] += swept.num_bytes
                done = f"{items.total():,} deleted, {decimal(sizes.total())}"
                progress.update(task, description=f"{swept.kind}: {done}")
            has_ended = True
    return [Swept(kind, items[kind], sizes[kind]) for kind in items if items[kind]], has_ended


def _wait_for_lease(sweep: LeasedSweep) -> None:
    deadline = time.monotonic() + 2 * LEASE_S
    while not sweep.begin():
        if time.monotonic() > deadline:
            raise NotReady("a trainer is sweeping at the moment; what is too old goes then")
        time.sleep(0.5)


def _print(swept: Sequence[Swept], what: str, json: bool) -> None:
    if json:
        print_json([each._asdict() for each in swept])
        return
    if not swept:
        out.print(f"{what}: nothing.")
        return
    has_reason = any(each.why for each in swept)
    columns = [what, "Number", "Size", *(["Why"] if has_reason else [])]
    shown = table(*columns, right=("Number", "Size"))
    for kind, number, num_bytes, why in swept:
        size = decimal(num_bytes) if num_bytes else "-"
        shown.add_row(kind, f"{number:,}", size, *([why] if has_reason else []))
    out.print(shown)
