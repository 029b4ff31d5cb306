"""Fit a challenger, and decide whether it beats the champion."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from core import erased
from core.models.manifest import Manifest
from core.runs import Run
from training.backbones.backbone_ref import BackboneRef
from training.dataset import Dataset, TrainingSet
from training.gate import evaluate, rules
from training.gate.champions import Champions
from training.gate.evaluate import Challenger, Cost
from training.gate.evidence import Decision
from training.head import fit
from training.head.fit import FittedHead, Penalty
from training.pipeline import export
from training.pipeline.context import RunContext
from training.recipe import GatePolicy, Recipe


def fit_challenger(
    context: RunContext,
    candidate: BackboneRef,
    dataset: Dataset,
    parent: Manifest,
    should_stop: Callable[[], bool],
) -> FittedHead:
    """Fit a head on the training rows, in the way that suits how it will be judged against its
    parent, the champion."""
    policy = context.recipe.gate
    method = evaluate.method_of(dataset, parent.classes, policy)
    training = dataset.training
    # A tuned backbone knows the training rows too well to calibrate on them.
    can_hold_out = rules.choose_method(dataset.num_held_out, policy) == "hold-out"
    by_held_out = can_hold_out and (candidate.snapshot > 0 or fit.is_large(training))
    return fit.fit_head(
        training,
        context.recipe.head,
        score_all=method == "cross-validation",
        penalty=_read_penalty(context, parent) if candidate.digest == parent.backbone else None,
        calibrate_on=dataset.held_out if by_held_out else None,
        should_stop=should_stop,
    )


def judge(
    context: RunContext,
    run: Run,
    training_set: TrainingSet,
    champions: Champions,
    challenger: Challenger,
) -> tuple[Manifest, Decision]:
    """Return the manifest to publish, still without a number, and the decision of the gate.

    Writes nothing.
    """
    parent, servable = champions.current.manifest, challenger.servable
    cost = _measure_cost(context, champions, challenger)
    evidence = evaluate.collect_evidence(training_set, champions, challenger, cost, context.recipe)
    manifest = replace(
        servable.manifest,
        parent=parent.version,
        metrics=export.metrics_of(training_set.dataset, challenger, evidence),
    )
    return manifest, rules.decide(evidence, _policy(context.recipe, run))


def _measure_cost(context: RunContext, champions: Champions, challenger: Challenger) -> Cost:
    servable, champion = challenger.servable, champions.current.servable
    blobs, backbone = context.store.blobs, servable.manifest.backbone
    is_same_backbone = backbone == champion.manifest.backbone
    return Cost(
        latency_ratio=export.latency_ratio(servable, champion),
        size_bytes=blobs.size(backbone),
        int8_latency_ratio=None
        if is_same_backbone
        else export.int8_latency_ratio(servable, blobs, context.runtime),
    )


def _policy(recipe: Recipe, run: Run) -> GatePolicy:
    """A user who requests another backbone by name has accepted its latency."""
    if run.tier == "backbone":
        return replace(recipe.gate, max_latency_ratio=math.inf)
    return recipe.gate


def _read_penalty(context: RunContext, manifest: Manifest) -> Penalty | None:
    """None too if the parent saw an example that was erased since: nothing of that goes on."""
    with context.store.db.read() as conn:
        if erased.saw_erased(conn, manifest.snapshot):
            return None
    fields = manifest.recipe.get("penalty")
    return Penalty(**fields) if fields else None
