"""The output of `evergreen versions diff` and `evergreen versions confusion`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from cli.console import err, out, percent, print_json, table
from core.inputs.kind import Limits
from core.labelling import labels
from core.labelling.labels import CurrentLabel
from core.models.backbones import Runtime
from core.models.manifest import Manifest
from core.review.comparing import comparison, version_scores
from core.review.comparing.comparison import Difference, describe_coverage
from core.review.comparing.confusion import Confusion, confusion
from core.review.comparing.paired_tests import Comparison
from core.review.comparing.version_scores import HeldOut, Vectors, VersionScores
from core.settings import Settings
from core.store.store import Store
from training.embeddings import embed

_MOST_FLIPS = 20
_MOST_CONFUSIONS = 20


def print_difference(store: Store, settings: Settings, before: int, after: int, json: bool) -> None:
    held_out, (old, new) = _score(store, settings, [before, after])
    diff = comparison.difference(held_out, old, new)
    with store.db.read() as conn:
        images = comparison.images_of(conn, [flip.example_id for flip in diff.flips])
    if json:
        print_json(_as_json(diff, images))
        return
    _print_coverage(held_out, diff.overall.n, diff.num_not_embedded, [old, new])
    if diff.overall.n == 0:
        return
    out.print(_changes(diff))
    if diff.flips:
        out.print(_flips(diff))
    if diff.num_flips > _MOST_FLIPS:
        err.print(f"{_MOST_FLIPS} of {diff.num_flips:,} are listed; --json prints more.")


def print_confusion(store: Store, settings: Settings, number: int, json: bool) -> None:
    held_out, (scores,) = _score(store, settings, [number])
    found = confusion(held_out, scores)
    if json:
        print_json(_confusion_as_json(found))
        return
    _print_coverage(held_out, found.num_judged, found.num_not_embedded, [scores])
    if found.num_judged:
        low, high = found.interval
        out.print(
            f"Version {number} is right in {percent(found.accuracy)} of {found.num_judged:,} "
            f"held-out examples (95 % interval: {percent(low)} to {percent(high)})."
        )
        out.print(_confusions(found))


def _score(
    store: Store, settings: Settings, numbers: Sequence[int]
) -> tuple[HeldOut, list[VersionScores]]:
    """Score each version on the same examples. Embeddings that are missing are computed."""
    runtime = Runtime(settings.device, settings.onnx_threads, cache=settings.home / "cache")
    embedder = _Embedder(store, runtime, settings.limits)
    with store.db.read() as conn:
        held_out = version_scores.read_held_out(conn)
    with Progress(TextColumn("comparing"), BarColumn(), console=err, transient=True) as bar:
        task = bar.add_task("", total=float(len(numbers)))
        scores = []
        for done, number in enumerate(numbers):

            def show(fraction: float, done: int = done) -> None:
                bar.update(task, completed=done + fraction)

            scores.append(
                version_scores.score(store, number, held_out, runtime, embedder.get, show)
            )
    return held_out, scores


class _Embedder:
    """Gets stored embeddings, and computes the others with the backbone of the version."""

    def __init__(self, store: Store, runtime: Runtime, limits: Limits) -> None:
        self._store = store
        self._runtime = runtime
        self._limits = limits
        self._get_stored = version_scores.stored_vectors(store)
        # Read when they are needed.
        self._rows: dict[int, CurrentLabel] = {}

    def get(self, manifest: Manifest, ids: Sequence[int]) -> Vectors:
        stored = self._get_stored(manifest, ids)
        if len(stored) == len(ids):
            return stored
        if not self._rows:
            with self._store.db.read() as conn:
                self._rows = {row.example_id: row for row in labels.current(conn)}
        # One that was erased meanwhile is left out.
        missing = [self._rows[each] for each in ids if each not in stored and each in self._rows]
        backbone = self._runtime.backbone(manifest.backbone, self._store.blobs)
        return {
            **stored,
            **embed(self._store, backbone, manifest.input_spec, missing, self._limits),
        }


def _print_coverage(
    held_out: HeldOut, num_judged: int, num_left_out: int, scores: Sequence[VersionScores]
) -> None:
    why = "their contents cannot be read; the log says why"
    note = describe_coverage(held_out, num_judged, num_left_out, scores, why)
    if note:
        err.print(note)


def _changes(diff: Difference) -> Table:
    before, after = f"Version {diff.before}", f"Version {diff.after}"
    shown = table(
        *("Class", "Judged", before, after, "Change", "95 % interval"),
        right=("Judged", before, after, "Change"),
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
            style="bold" if pair is diff.overall else "",
            end_section=pair is diff.overall,
        )
    shown.caption = "points of accuracy, on held-out examples"
    return shown


def _flips(diff: Difference) -> Table:
    shown = table(
        *("Example", "Label", f"Version {diff.before}", f"Version {diff.after}", ""),
        right=("Example",),
    )
    for flip in diff.flips[:_MOST_FLIPS]:
        verdict = "mended" if flip.is_mended else "broken"
        shown.add_row(str(flip.example_id), flip.label, flip.before, flip.after, verdict)
    return shown


def _confusions(found: Confusion) -> Table:
    """The cells beside the diagonal, largest first."""
    shown = table("Label", "Predicted as", "Times", right=("Times",))
    wrong_KK = found.matrix_KK.copy()
    np.fill_diagonal(wrong_KK, 0)
    for cell in np.argsort(-wrong_KK, axis=None, kind="stable")[:_MOST_CONFUSIONS]:
        label, predicted = divmod(int(cell), len(found.names))
        if wrong_KK[label, predicted]:
            times = f"{wrong_KK[label, predicted]:,}"
            shown.add_row(found.names[label], found.names[predicted], times)
    return shown


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _as_json(diff: Difference, images: dict[int, str]) -> dict[str, Any]:
    return {
        "before": diff.before,
        "after": diff.after,
        "judged": diff.overall.n,
        "not_embedded": diff.num_not_embedded,
        "overall": _pair(diff.overall),
        "classes": {name: _pair(pair) for name, pair in diff.by_class.items()},
        "confusion": {
            "names": diff.shown.names,
            "before": diff.before_KK.tolist(),
            "after": diff.after_KK.tolist(),
        },
        "flips": [
            {
                "example_id": flip.example_id,
                "image": images[flip.example_id],
                "label": flip.label,
                "before": flip.before,
                "after": flip.after,
                "mended": flip.is_mended,
            }
            for flip in diff.flips
            if flip.example_id in images
        ],
        "flips_total": diff.num_flips,
    }


def _confusion_as_json(found: Confusion) -> dict[str, Any]:
    return {
        "version": found.version,
        "judged": found.num_judged,
        "not_embedded": found.num_not_embedded,
        "names": found.names,
        "matrix": found.matrix_KK.tolist(),
        "accuracy": found.accuracy,
        "interval": found.interval,
        "classes": {
            name: {"judged": judged, "right": right}
            for name, (judged, right) in found.by_class.items()
        },
    }


def _pair(pair: Comparison) -> dict[str, Any]:
    return {
        "judged": pair.n,
        "before": pair.champion_accuracy,
        "after": pair.challenger_accuracy,
        "change": pair.change,
        "interval": [pair.low, pair.high],
    }
