"""`evergreen learning-curve`: whether more labels are worth it, and of which class."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import home
from cli.console import err, iso, out, percent, print_json, table
from core.inputs.kind import InputKind
from core.review import insights
from core.settings import load_settings

# Of the JSON; the rest is for the trainer.
_FIELDS = ("version", "points", "forecast", "verdict", "text", "classes")


def learning_curve(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show whether more labels are worth it, and of which class.

    The trainer measures it after a run, once it is idle. It needs no server.
    """
    with home.opened_existing(load_settings()) as store, store.db.read() as conn:
        curve = insights.learning_curve(conn)
    if json:
        fields = {name: curve[name] for name in _FIELDS}
        print_json(fields | {"computed_at": iso(curve["computed_at"])})
        return
    if curve["points"]:
        _print(curve, store.kind)
    out.print(curve["text"], soft_wrap=True)
    if curve["version"] is not None:
        err.print(f"Measured with the labels of version {curve['version']}.")


def _print(curve: dict[str, Any], kind: InputKind) -> None:
    points = table("Labels", "Accuracy", "95 % interval", "", right=("Labels", "Accuracy"))
    for name, what in (("points", ""), ("forecast", "expected")):
        for point in curve[name]:
            accuracy, interval = percent(point["accuracy"]), _interval(point["interval"])
            points.add_row(f"{point['labels']:,}", accuracy, interval, what)
    out.print(points)
    inputs = kind.plural.capitalize()
    classes = table("Class", inputs, "Accuracy", "More labels gain", right=(inputs, "Accuracy"))
    for each in curve["classes"]:
        accuracy = "-" if each["accuracy"] is None else percent(each["accuracy"])
        gain = each["gain_expected"]
        gained = "-" if gain is None else f"{100 * gain:.1f} points"
        classes.add_row(each["name"], f"{each['examples']:,}", accuracy, gained)
    out.print(classes)


def _interval(ends: list[float]) -> str:
    return " to ".join(percent(end) for end in ends)
