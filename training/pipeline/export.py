"""Export a fitted head to a challenger, time it, and describe it.

Suffixes: N rows, K classes.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.inputs.kind import InputSpec
from core.models.backbones import Backbone, Runtime
from core.models.head_onnx import head_onnx
from core.models.manifest import Manifest, code_revision, library_versions
from core.models.references import References
from core.models.servable import HeadSession, Servable, golden
from core.runs import Run
from core.store.blobs import Blobs
from training.backbones.backbone_ref import BackboneRef
from training.dataset import Dataset, TrainingSet
from training.gate.evaluate import Challenger
from training.gate.evidence import Evidence
from training.head.chunks import in_float32
from training.head.fit import FittedHead
from training.head.head import Head
from training.pipeline.context import RunContext
from training.pipeline.references import choose_references

_MAX_PARITY_ROWS = 1000
_WARM_UP_PREDICTIONS = 3
_TIMED_PREDICTIONS = 15


def export_challenger(
    context: RunContext,
    run: Run,
    candidate: BackboneRef,
    training_set: TrainingSet,
    fitted: FittedHead,
) -> Challenger:
    """Export the head to ONNX, choose references, store both, and load them beside the backbone.

    The manifest gets its parent and metrics when it is judged, and its number when it is published.
    """
    head, dataset, blobs = fitted.head, training_set.dataset, context.store.blobs
    model = head_onnx(head.weights_DK, head.bias_K, head.temperature, of_unit_rms=True)
    session = HeadSession(model, context.runtime)
    backbone = context.runtime.backbone(candidate.digest, blobs)
    references = choose_references(dataset, is_backbone_tuned=candidate.snapshot > 0)
    manifest = Manifest(
        version=0,
        parent=None,
        run_id=run.id,
        tier=run.tier,
        created_at=context.store.db.clock(),
        classes=dataset.classes,
        input_spec=candidate.input_spec,
        backbone_name=candidate.name,
        backbone=candidate.digest,
        head=blobs.put(model),
        embedding_size=candidate.embedding_size,
        backbone_snapshot=candidate.snapshot,
        temperature=head.temperature,
        abstain_below=fitted.abstain_below,
        snapshot=training_set.snapshot,
        num_trained=dataset.num_trained,
        num_held_out=dataset.num_held_out,
        metrics={},
        parity=parity(head, session, dataset.x_ND[:_MAX_PARITY_ROWS].astype(np.float32)),
        golden=golden(backbone, session, candidate.input_spec),
        recipe=context.recipe.to_json() | {"penalty": asdict(fitted.penalty)},
        libraries=library_versions(),
        code_revision=code_revision(),
        quantised_from=candidate.quantised_from,
        tuned_from=candidate.tuned_from,
        references=None if references is None else blobs.put(references.to_bytes()),
    )
    return Challenger(fitted, Servable(manifest, backbone, session, references))


def latency_ratio(challenger: Servable, champion: Servable) -> float:
    """Measure the time of one prediction, challenger over champion."""
    if challenger.backbone.digest == champion.backbone.digest:
        return 1.0  # a head adds microseconds
    return _time_ratio(
        (challenger.backbone, challenger.manifest.input_spec),
        (champion.backbone, champion.manifest.input_spec),
    )


def int8_latency_ratio(challenger: Servable, blobs: Blobs, runtime: Runtime) -> float | None:
    """Measure the time of one prediction on this machine, int8 over float32.

    None if the challenger is float32.
    """
    digest = challenger.manifest.quantised_from
    if digest is None:
        return None
    spec = challenger.manifest.input_spec
    return _time_ratio((challenger.backbone, spec), (runtime.backbone(digest, blobs), spec))


def _time_ratio(*pair: tuple[Backbone, InputSpec]) -> float:
    """Compare the shortest times, measured in turn: other work on this machine only adds time."""
    durations_s: tuple[list[float], list[float]] = ([], [])
    for i in range(_WARM_UP_PREDICTIONS + _TIMED_PREDICTIONS):
        for (backbone, spec), taken_s in zip(pair, durations_s, strict=True):
            golden = spec.golden(seed=0)
            started = time.perf_counter()
            backbone.embed(golden)
            if i >= _WARM_UP_PREDICTIONS:
                taken_s.append(time.perf_counter() - started)
    return min(durations_s[0]) / min(durations_s[1])


def parity(head: Head, session: HeadSession, x_ND: NDArray[np.float32]) -> float:
    """Return the largest difference between trained and exported probabilities."""
    _, exported_NK = session.score(x_ND)
    return float(np.abs(exported_NK - head.probabilities(x_ND)).max())


def metrics_of(dataset: Dataset, challenger: Challenger, evidence: Evidence) -> dict[str, Any]:
    """Describe a version for users: accuracy as the gate measured it, overall and by class."""
    fitted, manifest = challenger.fitted, challenger.servable.manifest
    label_N, correct_N = evidence.label_N, evidence.challenger_correct_N
    num_right_K = np.bincount(label_N[correct_N], minlength=len(dataset.classes))
    num_K = np.bincount(label_N, minlength=len(dataset.classes))
    per_class = {
        name: {"judged": int(num_K[k]), "right": int(num_right_K[k])}
        for k, name in enumerate(dataset.classes)
    }
    return {
        "accuracy": float(correct_N.mean()) if len(correct_N) else None,
        "judged_by": evidence.method,
        "num_judged": len(correct_N),
        "num_trained": dataset.num_trained,
        "num_held_out": dataset.num_held_out,
        "out_of_fold_accuracy": _probe_accuracy(dataset, fitted, correct_N),
        "expected_calibration_error": round(fitted.calibration_error, 4),
        "temperature": round(fitted.head.temperature, 4),
        "abstain_below": fitted.abstain_below,
        "parity": manifest.parity,
        "precision": manifest.precision,
        "unfamiliar": _describe(challenger.servable.references, dataset.held_out),
        "classes": per_class,
    }


def _describe(references: References | None, held_out: Dataset) -> dict[str, Any] | None:
    """Describe the references, with the share of held-out examples that they call unfamiliar."""
    if references is None:
        return None
    flagged_N = in_float32(held_out.x_ND, references.are_unfamiliar)
    return {
        "num_references": len(references),
        "threshold": round(references.threshold, 4),
        "num_bytes": len(references.to_bytes()),
        "held_out_share": round(float(flagged_N.mean()), 4) if len(flagged_N) else None,
    }


def _probe_accuracy(
    dataset: Dataset, fitted: FittedHead, correct_N: NDArray[np.bool_]
) -> float | None:
    """How well frozen features separate the classes, which the planner needs.

    Measured out of fold, or on the held-out rows if the task is too large to score any out of fold.
    """
    scored_N = ~np.isnan(fitted.out_of_fold_NK[:, 0])
    if not scored_N.any():
        return float(correct_N.mean()) if len(correct_N) else None
    right_N = fitted.out_of_fold_NK.argmax(axis=1) == dataset.training.y_N
    return float(right_N[scored_N].mean())
