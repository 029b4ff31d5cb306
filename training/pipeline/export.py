"""From a fitted head to a challenger: exported, checked against the trained one, and described."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.inputs.pixels import PixelSpec
from core.models.backbones import Backbone, Runtime, golden_pixels
from core.models.head_onnx import head_onnx
from core.models.manifest import Manifest, Optimised, code_revision, library_versions
from core.models.servable import HeadSession, Servable, golden
from core.runs import Run
from core.store.blobs import Blobs
from training.backbones.backbone_ref import BackboneRef
from training.dataset import Dataset
from training.head.fit import FittedHead
from training.head.head import Head
from training.recipe import Recipe

_MAX_PARITY_ROWS = 1000
_WARM_UP_PREDICTIONS = 3
_TIMED_PREDICTIONS = 15


def make_challenger(
    run: Run,
    snapshot: int,
    dataset: Dataset,
    fitted: FittedHead,
    parent: Manifest,
    candidate: BackboneRef,
    backbone: Backbone,
    blobs: Blobs,
    runtime: Runtime,
    recipe: Recipe,
) -> tuple[Servable, float]:
    """Export to ONNX, store the file, and load it. The version has no number yet (0).

    Also returns the largest difference between trained and exported probabilities.
    """
    head = fitted.head
    content = head_onnx(head.weights_DK, head.bias_K, head.temperature, of_unit_rms=True)
    session = HeadSession(content, runtime)
    difference = parity(head, session, dataset.x_ND[:_MAX_PARITY_ROWS])
    manifest = replace(
        parent,
        version=0,
        parent=parent.version,
        run_id=run.id,
        tier=run.tier,
        created_at=time.time(),
        classes=dataset.classes,
        pixels=candidate.pixels,
        backbone_name=candidate.name,
        backbone=candidate.digest,
        embedding_size=candidate.embedding_size,
        backbone_snapshot=candidate.snapshot,
        head=blobs.put(content),
        temperature=head.temperature,
        abstain_below=fitted.abstain_below,
        snapshot=snapshot,
        num_trained=dataset.num_trained,
        num_held_out=dataset.num_held_out,
        metrics={},
        parity=difference,
        golden=golden(backbone, session, candidate.pixels),
        recipe=recipe.to_json() | {"penalty": asdict(fitted.penalty)},
        libraries=library_versions(),
        code_revision=code_revision(),
        quantised_from=candidate.quantised_from,
        tuned_from=candidate.tuned_from,
        optimised=optimised_of(candidate, parent, backbone, blobs, runtime),
    )
    return Servable(manifest, backbone, session), difference


def optimised_of(
    candidate: BackboneRef, parent: Manifest, backbone: Backbone, blobs: Blobs, runtime: Runtime
) -> Optimised | None:
    """Heads keep that of their parent, unless it is for another machine and one for this kind can
    be made."""
    kept = parent.optimised if candidate.digest == parent.backbone else None
    if runtime.can_run(kept):
        return kept
    return runtime.optimise(backbone, candidate.pixels, blobs) or kept


def latency_ratio(challenger: Servable, champion: Servable) -> float:
    """Time of one prediction, challenger over champion."""
    if challenger.backbone.digest == champion.backbone.digest:
        return 1.0  # a head adds microseconds
    return _time_ratio(
        (challenger.backbone, challenger.manifest.pixels),
        (champion.backbone, champion.manifest.pixels),
    )


def int8_latency_ratio(challenger: Servable, blobs: Blobs, runtime: Runtime) -> float | None:
    """Time of one prediction in int8 over that of the same backbone in float32, on this machine.

    None if the challenger is float32.
    """
    digest = challenger.manifest.quantised_from
    if digest is None:
        return None
    spec = challenger.manifest.pixels
    return _time_ratio((challenger.backbone, spec), (runtime.backbone(digest, blobs), spec))


def _time_ratio(*pair: tuple[Backbone, PixelSpec]) -> float:
    """Of the shortest times, taken in turn: whatever else runs here only makes some longer."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for i in range(_WARM_UP_PREDICTIONS + _TIMED_PREDICTIONS):
        for (backbone, spec), taken in zip(pair, seconds, strict=True):
            pixels_BHWC = golden_pixels(spec, seed=0)
            started = time.perf_counter()
            backbone.embed(pixels_BHWC)
            if i >= _WARM_UP_PREDICTIONS:
                taken.append(time.perf_counter() - started)
    return min(seconds[0]) / min(seconds[1])


def parity(head: Head, session: HeadSession, x_ND: NDArray[np.float32]) -> float:
    """Largest difference between trained and exported probabilities."""
    _, exported_NK = session.score(x_ND)
    return float(np.abs(exported_NK - head.probabilities(x_ND)).max())


def metrics_of(
    dataset: Dataset,
    fitted: FittedHead,
    challenger: Servable,
    correct_N: NDArray[np.bool_],
    label_N: NDArray[np.integer[Any]],
    method: str,
) -> dict[str, Any]:
    """What is shown of a version: accuracy as the gate judged it, overall and by class."""
    num_right_K = np.bincount(label_N[correct_N], minlength=len(dataset.classes))
    num_K = np.bincount(label_N, minlength=len(dataset.classes))
    per_class = {
        name: {"judged": int(num_K[k]), "right": int(num_right_K[k])}
        for k, name in enumerate(dataset.classes)
    }
    return {
        "accuracy": float(correct_N.mean()) if len(correct_N) else None,
        "judged_by": method,
        "num_judged": len(correct_N),
        "num_trained": dataset.num_trained,
        "num_held_out": dataset.num_held_out,
        "out_of_fold_accuracy": _unseen_accuracy(dataset, fitted, correct_N),
        "expected_calibration_error": round(fitted.calibration_error, 4),
        "temperature": round(fitted.head.temperature, 4),
        "abstain_below": fitted.abstain_below,
        "parity": challenger.manifest.parity,
        "precision": challenger.manifest.precision,
        "classes": per_class,
    }


def _unseen_accuracy(
    dataset: Dataset, fitted: FittedHead, correct_N: NDArray[np.bool_]
) -> float | None:
    """How well frozen features separate the classes: what the planner calls similar. Of so many
    rows that none was scored out of fold, the held-out ones say as much."""
    scored_N = ~np.isnan(fitted.out_of_fold_NK[:, 0])
    if not scored_N.any():
        return float(correct_N.mean()) if len(correct_N) else None
    right_N = fitted.out_of_fold_NK.argmax(axis=1) == dataset.training.y_N
    return float(right_N[scored_N].mean())
