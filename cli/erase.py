"""`evergreen erase`: erase an input, by its example or by a prediction of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from cli import home
from cli.actor import actor
from cli.console import as_json, count, err, out, print_json
from core.erased import Erasure
from core.erasure.erase import Eraser
from core.inputs.kind import InputKind
from core.retention.policy import load_retention_policy
from core.settings import load_settings
from service.inference import erasing
from service.inference.spool import Spool, open_spool

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Erase an image or a text and what was made of it.",
)
_Who = Annotated[str, typer.Option(help="Who erases.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the receipt as JSON.")]


@app.command()
def example(
    example_id: Annotated[int, typer.Argument(metavar="ID", help="The id of the example.")],
    who: _Who = "anonymous",
    json: _Json = False,
) -> None:
    """Erase a labelled input, with its labels. Near-duplicates are other examples, and stay."""
    with _opened() as (eraser, _):
        erasure = eraser.erase_example(example_id, who, actor())
    _print(erasure, eraser.store.kind, json)


@app.command()
def prediction(
    prediction_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a prediction.")],
    who: _Who = "anonymous",
    json: _Json = False,
) -> None:
    """Erase the input of a prediction, all predictions of it, and its labels if it has any."""
    with _opened() as (eraser, spool):
        erasure = erasing.erase_prediction(eraser, spool, prediction_id, who, actor())
    _print(erasure, eraser.store.kind, json)


@contextmanager
def _opened() -> Iterator[tuple[Eraser, Spool]]:
    settings = load_settings()
    spool = open_spool(settings)
    with home.opened_existing(settings) as store:
        policy = load_retention_policy(settings.recipe)
        yield erasing.eraser(settings, store, spool, policy), spool


def _print(erasure: Erasure, kind: InputKind, json: bool) -> None:
    receipt = erasure.receipt
    if json:
        print_json(as_json(erasure))
        return
    blanked = count(len(receipt.get("labels", ())), "label")
    deleted = count(receipt["predictions"], "prediction")
    out.print(
        f"Erased {kind.noun} {erasure.image}: {blanked} blanked, {deleted} deleted.", soft_wrap=True
    )
    for version in receipt["versions"]:
        out.print(f"Version {version['version']} saw it: {version['fate']}.")
    for text in receipt["remains"]:
        out.print(f"Remains: {text}.", soft_wrap=True)
    if erasure.finished_at is None:
        err.print("Not all is done: erase once more.")
