"""`evergreen queue`: what to label next, as the page shows it."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import typer

from cli import home
from cli.actor import actor
from cli.console import err, iso, out, percent, print_json, table
from cli.excerpts import excerpt_of, under
from cli.predict import load_champion
from core.errors import InvalidRequest
from core.plain_text import MAX_WHO_CHARACTERS, check_plain
from core.review.analyses import AnalysisCache
from core.review.queue import show as review_queue
from core.review.queue.rankings import QueueItem
from core.review.queue.show import MAX_SHOWN, Queue
from core.settings import load_settings

# By digest; None: lists show none.
_Excerpts = dict[str, str | None]


class By(enum.StrEnum):
    DOUBT = "doubt"
    SUSPECT = "suspect"
    UNFAMILIAR = "unfamiliar"


def queue(
    by: Annotated[
        By,
        typer.Option(
            help="doubt: kept predictions that teach most; unfamiliar: those unlike everything "
            "labelled; suspect: labels that are probably wrong."
        ),
    ] = By.DOUBT,
    limit: Annotated[int, typer.Option(min=1, max=MAX_SHOWN, help="How many to list.")] = 20,
    reviewer: Annotated[
        str | None, typer.Option(help="Who labels them. By default it is you.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what is most worth a person's time to label.

    It needs no server. What is listed is shown to nobody else for two minutes.
    """
    settings = load_settings()
    name = reviewer or actor().who
    check_plain("reviewer", name, MAX_WHO_CHARACTERS)
    with home.opened_existing(settings) as store:
        champion = load_champion(store, settings)
        shown = review_queue.show(
            store,
            champion,
            AnalysisCache(store).get(),
            by=_kind(by),
            limit=limit,
            reviewer=name,
            actor=actor(),
        )
        excerpts = {each: excerpt_of(store, each) for each in map(_image_of, shown.items)}
    if json:
        print_json(_as_json(shown, excerpts))
    elif shown.items:
        _print(shown, excerpts)
    else:
        out.print(f"Nothing: {shown.hint}", soft_wrap=True)


def _kind(by: By) -> review_queue.By:
    for kind in review_queue.KINDS:
        if kind == by:
            return kind
    raise InvalidRequest(f"{by} is no queue")


def _print(shown: Queue, excerpts: _Excerpts) -> None:
    has_excerpts = any(excerpt is not None for excerpt in excerpts.values())
    if shown.by == "suspect":
        columns, last = ("Label", "Predicted", "Why"), "Example"
    else:
        columns, last = ("Predicted", "Conf.", "Why"), "Prediction"
    listed = table(
        *((f"Text, {last.lower()}", *columns) if has_excerpts else (*columns, last)),
        right=("Conf.", "Example"),
    )
    listed.columns[-1].no_wrap = not has_excerpts
    for item in shown.items:
        *row, item_id = _row(item)
        if has_excerpts:
            listed.add_row(under(excerpts[_image_of(item)], item_id), *row)
        else:
            listed.add_row(*row, item_id)
    out.print(listed)
    err.print(f"{len(shown.items)} of {shown.num_waiting:,}")
    if shown.by != "suspect":
        out.print("Label one: evergreen label PREDICTION LABEL", soft_wrap=True)


def _image_of(item: QueueItem) -> str:
    record = item.prediction or item.example
    assert record is not None
    return record.image


def _row(item: QueueItem) -> tuple[str, ...]:
    prediction, example = item.prediction, item.example
    if prediction is not None:
        return prediction.label, percent(prediction.confidence), item.why, prediction.id
    assert example is not None
    return example.label or "", example.predicted or "", item.why, str(example.id)


def _as_json(shown: Queue, excerpts: _Excerpts) -> dict[str, Any]:
    return {
        "by": shown.by,
        "items": [{**_item(item), "excerpt": excerpts[_image_of(item)]} for item in shown.items],
        "waiting": shown.num_waiting,
        "hint": shown.hint,
    }


def _item(item: QueueItem) -> dict[str, Any]:
    prediction, example = item.prediction, item.example
    if prediction is not None:
        return {
            "kind": "prediction",
            "id": prediction.id,
            "image": prediction.image,
            "version": prediction.version,
            "label": prediction.label,
            "confidence": prediction.confidence,
            "margin": prediction.margin,
            "unfamiliar": prediction.unfamiliar,
            "created_at": iso(prediction.created_at),
            "why": item.why,
        }
    assert example is not None
    return {
        "kind": "example",
        "id": example.id,
        "image": example.image,
        "label": example.label,
        "predicted": example.predicted,
        "label_probability": example.label_probability,
        "held_out": example.is_held_out,
        "why": item.why,
    }
