"""The output of `evergreen versions diff`."""

from __future__ import annotations

from typing import Any

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from cli.console import err, out, percent, print_json, table
from core.inputs.pixels import Limits
from core.models.backbones import Runtime
from core.settings import Settings
from core.store.store import Store
from training.gate.paired_tests import Comparison
from training.gate.version_diff import Difference, difference

_MOST_FLIPS = 20


def print_difference(store: Store, settings: Settings, before: int, after: int, json: bool) -> None:
    runtime = Runtime(settings.device, settings.onnx_threads, cache=settings.home / "cache")
    with Progress(TextColumn("comparing"), BarColumn(), console=err, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        diff = difference(
            store,
            before,
            after,
            runtime,
            Limits(settings.max_pixels),
            lambda fraction: bar.update(task, completed=fraction),
        )
    if json:
        print_json(_as_json(diff, before, after))
        return
    if diff.overall.n == 0:
        out.print("No held-out example has a class that either version knows; label more.")
        return
    out.print(_changes(diff, before, after))
    if diff.flips:
        out.print(_flips(diff, before, after))
    if len(diff.flips) > _MOST_FLIPS:
        err.print(f"{_MOST_FLIPS} of {len(diff.flips):,} are listed; --json prints all.")


def _changes(diff: Difference, before: int, after: int) -> Table:
    shown = table(
        *("Class", "Judged", f"Version {before}", f"Version {after}", "Change", "95 % interval"),
        right=("Judged", f"Version {before}", f"Version {after}", "Change"),
    )
    rows = {"all": diff.overall, **diff.by_class}
    for name, pair in rows.items():
        shown.add_row(
            name,
            f"{pair.n:,}",
            percent(pair.champion_accuracy),
            percent(pair.challenger_accuracy),
            _points(pair.change),
            f"{_points(pair.low)} to {_points(pair.high)}",
            style="bold" if name == "all" else "",
            end_section=name == "all",
        )
    shown.caption = "points of accuracy, on held-out examples"
    return shown


def _flips(diff: Difference, before: int, after: int) -> Table:
    shown = table(
        "Example", "Label", f"Version {before}", f"Version {after}", "", right=("Example",)
    )
    worst_first = sorted(diff.flips, key=lambda flip: flip.is_mended)
    for flip in worst_first[:_MOST_FLIPS]:
        verdict = "mended" if flip.is_mended else "broken"
        shown.add_row(str(flip.example_id), flip.label, flip.before, flip.after, verdict)
    return shown


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _as_json(diff: Difference, before: int, after: int) -> dict[str, Any]:
    return {
        "before": before,
        "after": after,
        "overall": _pair(diff.overall),
        "classes": {name: _pair(pair) for name, pair in diff.by_class.items()},
        "flips": [
            {
                "example_id": flip.example_id,
                "image": flip.image,
                "label": flip.label,
                "before": flip.before,
                "after": flip.after,
                "mended": flip.is_mended,
            }
            for flip in diff.flips
        ],
    }


def _pair(pair: Comparison) -> dict[str, Any]:
    return {
        "judged": pair.n,
        "before": pair.champion_accuracy,
        "after": pair.challenger_accuracy,
        "change": pair.change,
        "interval": [pair.low, pair.high],
    }
