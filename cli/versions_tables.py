"""The tables of `evergreen versions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from cli.console import count, moment, percent, some, table
from core.inputs.kind import InputKind
from core.models.manifest import Manifest
from core.registry.versions import Version

_MOST_NAMES = 5
_MOST_CLASSES = 20
_JUDGES = {"hold-out": "hold-out", "cross-validation": "cross-val."}


def list_of(
    listed: list[Version],
    champion_number: int | None,
    lost: dict[int, dict[str, str]],
    kind: InputKind,
) -> Table:
    inputs = kind.plural.capitalize()
    shown = table(
        *("No.", "", "Created", "Classes", inputs, "Accuracy", "Judged by", "Gate"),
        right=("No.", inputs, "Accuracy"),
    )
    for version in listed:
        is_champion = version.number == champion_number
        shown.add_row(
            str(version.number),
            "*" if is_champion else "",
            Text(moment(version.created_at), no_wrap=True),
            some(version.classes, _MOST_NAMES),
            f"{version.metrics['num_trained']:,}" if "num_trained" in version.metrics else "-",
            _accuracy(version),
            Text(_JUDGES.get(version.metrics.get("judged_by", ""), "-"), no_wrap=True),
            Text("files lost", "red")
            if version.number in lost
            else Text(_gate(version), no_wrap=True),
            style="bold" if is_champion else "",
        )
    shown.caption = "* the champion"
    return shown


def _gate(version: Version) -> str:
    decision = "passed" if version.passed_gate else "held back"
    return decision if version.retired_at is None else f"{decision}, retired"


def facts(version: Version, manifest: Manifest | None, kind: InputKind) -> Table:
    metrics = version.metrics
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    rows = {
        "Created": moment(version.created_at),
        "Classes": some(version.classes, _MOST_CLASSES),
        "Retired": moment(version.retired_at) if version.retired_at else "",
        "Trained on": _trained_on(manifest, kind) if manifest else "",
        "After version": str(version.parent) if version.parent else "",
        "Run": version.run_id or "",
    }
    if metrics.get("accuracy") is not None:
        judged = f"{count(metrics['num_judged'], kind.noun)} by {metrics['judged_by']}"
        rows["Accuracy"] = f"{_accuracy(version)} of {judged}"
    if metrics.get("zero_shot"):
        rows["Predicts by"] = "the names of the classes (zero-shot)"
    if metrics.get("precision") == "int8":
        rows["Precision"] = "int8"
    unfamiliar = metrics.get("unfamiliar")
    if unfamiliar is not None:
        nearest = f"{count(unfamiliar['num_references'], 'reference')}"
        rows["Unfamiliar"] = f"below {unfamiliar['threshold']:.3f} to the nearest of {nearest}"
    rows["Gate"] = str(version.gate.get("reason", ""))
    for name, value in rows.items():
        if value:
            grid.add_row(name, value)
    return grid


def _trained_on(manifest: Manifest, kind: InputKind) -> str:
    return f"{count(manifest.num_trained, kind.noun)}, {manifest.num_held_out:,} held out"


def checks(checks: list[dict[str, Any]]) -> Table:
    shown = table("Check", "", "Finding")
    for check in checks:
        shown.add_row(
            check["name"],
            Text("passed") if check["passed"] else Text("failed", style="red"),
            check["detail"],
        )
    return shown


def by_class(classes: dict[str, dict[str, int]]) -> Table:
    shown = table("Class", "Judged", "Right", right=("Judged", "Right"))
    for name, counts in list(classes.items())[:_MOST_CLASSES]:
        share = f"  {percent(counts['right'] / counts['judged'])}" if counts["judged"] else ""
        shown.add_row(name, f"{counts['judged']:,}", f"{counts['right']:,}{share}")
    if len(classes) > _MOST_CLASSES:
        shown.caption = f"and {len(classes) - _MOST_CLASSES:,} more: --json lists them"
    return shown


def _accuracy(version: Version) -> str:
    accuracy = version.metrics.get("accuracy")
    return "-" if accuracy is None else percent(accuracy)


def known_unknowns(summary: Mapping[str, Any], kind: InputKind) -> str | None:
    """How many inputs of no class a version finds unfamiliar. None: there are none."""
    known = summary.get("known_unknowns", {})
    if known.get("unfamiliar_share") is None:
        return None
    number, share = count(known["examples"], kind.noun), percent(known["unfamiliar_share"])
    return f"Of {number} that are none of these, it finds {share} unfamiliar."
