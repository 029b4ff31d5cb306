"""`evergreen replay`: train the head of a version again, and compare the files."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import home
from cli.console import count, out, some
from cli.exit_codes import FAILED
from core import erased
from core.errors import InvalidRequest
from core.ids import may_be_id, new_id
from core.registry import versions
from core.registry.versions import Version
from core.settings import load_settings
from core.store.store import Store


def replay(
    which: Annotated[
        str, typer.Argument(metavar="RUN", help="The id of a run, or the number of a version.")
    ],
) -> None:
    """Train the head of a version again, and compare the files.

    It takes the labels, the recipe and the backbone that the version names, and publishes nothing.
    The same code, libraries and machine give the same bytes; the exit code is then 0, and else 1.
    """
    # Imported here: scipy takes a second.
    from training.pipeline.context import open_context
    from training.pipeline.replay import replay as train_again
    from training.recipe import Recipe

    settings = load_settings()
    with home.opened_existing(settings) as store:
        version = _find(store, which)
        with store.db.read() as conn:
            has_seen_erased = erased.saw_erased(conn, version.snapshot)
        result = train_again(open_context(store, Recipe(), settings, new_id()), version)
    out.print(f"Version {result.version}, trained again on {count(result.num_trained, 'example')}")
    out.print(f"published  {result.published}", soft_wrap=True)
    out.print(f"replayed   {result.replayed}", soft_wrap=True)
    if result.left_out:
        named = some(tuple(map(str, result.left_out)), most=10)
        out.print(f"{count(len(result.left_out), store.kind.noun)} could not be read: {named}")
    if result.is_same:
        out.print("The files are the same.")
        return
    if has_seen_erased:
        out.print("An example that it saw was erased since, so another file is right.")
    out.print(f"Probabilities differ by at most {result.largest_difference:.2g}.")
    for name, (then, now) in result.changes.items():
        out.print(f"{name} was {then or 'absent'}, and is {now or 'absent'}")
    raise typer.Exit(FAILED)


def _find(store: Store, which: str) -> Version:
    with store.db.read() as conn:
        if which.isdecimal():
            return versions.get(conn, int(which))
        version = versions.by_run(conn, which) if may_be_id(which) else None
    if version is None:
        raise InvalidRequest(
            f"run {which[:40]!r} made no version; `evergreen versions` lists the versions"
        )
    return version
