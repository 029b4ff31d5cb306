"""`evergreen lost-images`: list the examples whose images are lost, or erase them."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import home
from cli.actor import actor
from cli.console import ago, as_json, count, err, out, print_json, table
from core.inputs.kind import InputKind
from core.labelling import lost_images
from core.labelling.lost_images import LostImage
from core.settings import load_settings


def list_lost_images(
    erase: Annotated[
        list[int] | None,
        typer.Option(metavar="ID", help="Retract the labels of this example; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to list.")] = 50,
    after: Annotated[int, typer.Option(min=0, help="Only examples above this id.")] = 0,
    who: Annotated[str, typer.Option(help="Who erases.")] = "anonymous",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the labelled images or texts that are lost, or erase some.

    They are missing or damaged in the blob store. Restore them, or label the same ones again.
    """
    with home.opened_existing(load_settings()) as store:
        for example_id in erase or ():
            now = store.db.clock()
            events = lost_images.erase(store, example_id, who=who, now=now, by=actor())
            done = f"Example {example_id} is erased: {count(len(events), 'label')} retracted."
            (err if json else out).print(done)
        if erase:
            return
        with store.db.read() as conn:
            found = lost_images.listing(conn, limit=limit, after=after)
            total, _ = lost_images.count(conn)
    if json:
        print_json([as_json(lost) for lost in found])
        return
    _print(found, total, store.kind)


def _print(found: list[LostImage], total: int, kind: InputKind) -> None:
    if not found:
        out.print(f"No {kind.noun} is known to be lost. `evergreen doctor` checks each of them.")
        return
    shown = table("Example", "Label", "Problem", "Found", "SHA-256", right=("Example",))
    for lost in found:
        row = (str(lost.example_id), lost.label, lost.problem, ago(lost.found_at), lost.image)
        shown.add_row(*row)
    out.print(shown)
    if len(found) < total:
        err.print(f"{total:,} are lost; --after {found[-1].example_id} lists the next ones.")
