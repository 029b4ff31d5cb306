"""The challenge: fit a head, and judge what it makes beside the champion."""

from __future__ import annotations

import math
from dataclasses import replace

from core.models.backbones import Backbone
from core.models.manifest import Manifest
from core.runs import Run
from training.backbones.backbone_ref import BackboneRef
from training.dataset import Dataset
from training.gate import evaluate, rules
from training.gate.champions import Contender, KeptAnswers
from training.gate.evidence import Decision, GatePolicy
from training.head import fit
from training.head.fit import Penalty
from training.pipeline import export
from training.pipeline.context import Workshop
from training.pipeline.progress import Progress
from training.recipe import Recipe


def challenge(
    shop: Workshop,
    run: Run,
    progress: Progress,
    candidate: BackboneRef,
    backbone: Backbone,
    snapshot: int,
    datasets: tuple[Dataset, Dataset],
    standing: tuple[Contender, list[KeptAnswers]],
) -> tuple[Manifest, Decision]:
    """Returns what would be published, without a number, and what the gate says of it. Calculates
    only: all that it writes are blobs, of the head and of a new backbone's optimised form.

    `datasets` are the same rows with the embeddings of the candidate's backbone, and with those of
    the champion's; `standing` is the champion, and champions before it. Raises Stopped.
    """
    recipe, store = shop.recipe, shop.store
    dataset, champion_dataset = datasets
    contender, earlier = standing
    parent = contender.servable.manifest
    is_same_backbone = candidate.digest == parent.backbone

    progress.tell("training", 0.5)
    method = rules.choose_method(dataset.num_held_out, recipe.gate)
    has_seen_rows = candidate.snapshot > 0
    training = dataset.training
    by_held_out = method == "hold-out" and (has_seen_rows or fit.is_large(training))
    fitted = fit.fit_head(
        training,
        recipe.head,
        score_all=method == "cross-validation",
        penalty=_penalty_of(parent) if is_same_backbone else None,
        calibrate_on=dataset.held_out if by_held_out else None,
        should_stop=progress.should_stop,
    )

    progress.tell("judging", 0.75)
    challenger, parity = export.make_challenger(
        run,
        snapshot,
        dataset,
        fitted,
        parent,
        candidate,
        backbone,
        store.blobs,
        shop.runtime,
        recipe,
    )
    bounds = evaluate.Bounds(
        parity=parity,
        latency_ratio=export.latency_ratio(challenger, contender.servable),
        size_bytes=store.blobs.size(challenger.manifest.backbone),
        int8_latency_ratio=None
        if is_same_backbone
        else export.int8_latency_ratio(challenger, store.blobs, shop.runtime),
    )
    evidence = evaluate.gather(
        dataset,
        champion_dataset,
        fitted,
        challenger,
        contender,
        earlier,
        bounds,
        recipe.gate,
        recipe.head.balance,
        only_held_out=has_seen_rows and not is_same_backbone,
    )
    metrics = export.metrics_of(
        dataset,
        fitted,
        challenger,
        evidence.challenger_correct_N,
        evidence.label_N,
        evidence.method,
    )
    decision = rules.decide(evidence, _policy(recipe, run))
    return replace(challenger.manifest, metrics=metrics), decision


def _policy(recipe: Recipe, run: Run) -> GatePolicy:
    """Who asks for another backbone by name has chosen its speed as well."""
    if run.tier == "backbone":
        return replace(recipe.gate, max_latency_ratio=math.inf)
    return recipe.gate


def _penalty_of(manifest: Manifest) -> Penalty | None:
    found = manifest.recipe.get("penalty")
    return Penalty(**found) if found else None
