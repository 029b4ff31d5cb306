"""`evergreen label`: label an input, or retract a label."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import home
from cli.actor import actor
from cli.console import out
from cli.input_file import STDIN, is_file, naming, read_input, to_bytes
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
        str | None, typer.Argument(metavar="[FILE|-|PREDICTION_ID]", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Argument(metavar="LABEL", show_default=False)] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="A text itself, in place of a file.")
    ] = None,
    undo: Annotated[
        int | None, typer.Option(metavar="ID", help="Retract the label with this id.")
    ] = None,
    who: Annotated[str, typer.Option(help="The author of the label.")] = "anonymous",
) -> None:
    """Label an image or a text, or retract a label.

    It is a file, that of a prediction, or the text of --text. A new label replaces the earlier one.
    """
    settings = load_settings()
    check_who(who)
    if undo is not None:
        if target is not None or text is not None:
            raise InvalidRequest("--undo takes the id of a label and nothing else")
        with home.opened_existing(settings) as store:
            _undo(store, undo, who)
        return
    if text is not None and name is None:
        target, name = None, target
    if (target is None) == (text is None) or name is None:
        raise InvalidRequest(
            "two things are needed: an input and its label, as in `evergreen label photo.jpg cat` "
            "or `evergreen label --text 'it crashed' bug`"
        )
    with home.opened(settings) as store:
        request = LabelRequest(name, who, actor=actor())
        if text is not None:
            content = to_bytes(text, store.kind)
            now = store.db.clock()
            result = intake.label_image(store, content, request, settings.limits, now)
        else:
            result = _label(store, settings, target or "", request)
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
    if path == STDIN or is_file(path):
        with naming(path):
            content = read_input(path, settings, store.kind)
            return intake.label_image(store, content, request, limits, store.db.clock())
    with store.db.read() as conn:
        is_known = predictions.get(conn, target) is not None
    if not is_known:
        raise InvalidRequest(
            f"{target[:60]!r} is neither an existing file nor the id of a prediction; a text "
            "itself goes after --text"
        )
    return intake.label_prediction(store, target, request, limits, store.db.clock())


def _undo(store: Store, event_id: int, who: str) -> None:
    result = retractions.retract(store, event_id, who=who, now=store.db.clock(), by=actor())
    out.print(
        f"Label {event_id} is retracted."
        if result.is_new
        else f"Label {event_id} was retracted before."
    )
