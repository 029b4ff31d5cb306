"""`evergreen label`: label an image, or retract a label."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import home
from cli.actor import actor
from cli.console import out
from cli.image_file import naming, read_image
from core import predictions
from core.class_names import normalise
from core.errors import InvalidRequest
from core.labelling import intake, retractions
from core.labelling.intake import IntakeResult
from core.labelling.label_request import LabelRequest
from core.plain_text import check_who
from core.settings import Settings, load_settings
from core.store.store import Store


def label(
    target: Annotated[
        str | None, typer.Argument(metavar="FILE|PREDICTION_ID", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Argument(metavar="LABEL", show_default=False)] = None,
    undo: Annotated[
        int | None, typer.Option(metavar="ID", help="Retract the label with this id.")
    ] = None,
    who: Annotated[str, typer.Option(help="The author of the label.")] = "anonymous",
) -> None:
    """Label an image, or retract a label.

    The image is a file, or that of a prediction. A new label replaces the earlier one.
    """
    settings = load_settings()
    check_who(who)
    if undo is not None:
        if target is not None:
            raise InvalidRequest("--undo takes the id of a label and nothing else")
        with home.opened_existing(settings) as store:
            _undo(store, undo, who)
        return
    if target is None or name is None:
        raise InvalidRequest(
            "two things are needed: an image and its label, as in `evergreen label photo.jpg cat`"
        )
    with home.opened(settings) as store:
        result = _label(store, settings, target, LabelRequest(name, who, actor=actor()))
    stored = result.event.label
    is_other = stored != normalise(name)
    spelling = ", as this class was spelled when it was first labelled" if is_other else ""
    out.print(
        f"Labelled {stored!r}{spelling}. To retract it: evergreen label --undo {result.event.id}",
        soft_wrap=True,
    )


def _label(store: Store, settings: Settings, target: str, request: LabelRequest) -> IntakeResult:
    limits = settings.limits
    path = Path(target)
    if path.exists():
        with naming(path):
            image = read_image(path, settings)
            return intake.label_image(store, image, request, limits, store.db.clock())
    with store.db.read() as conn:
        is_known = predictions.get(conn, target) is not None
    if not is_known:
        raise InvalidRequest(f"{target!r} is neither an existing file nor the id of a prediction")
    return intake.label_prediction(store, target, request, limits, store.db.clock())


def _undo(store: Store, event_id: int, who: str) -> None:
    result = retractions.retract(store, event_id, who=who, now=store.db.clock(), by=actor())
    out.print(
        f"Label {event_id} is retracted."
        if result.is_new
        else f"Label {event_id} was retracted before."
    )
