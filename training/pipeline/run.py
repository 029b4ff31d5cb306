"""One run, from its claim to its end. Read it from top to bottom."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from threadpoolctl import threadpool_limits

from core import leases, runs
from core.class_names import is_class
from core.errors import EvergreenError, NotReady, StoreError
from core.labelling import labels
from core.labelling.census import check_enough, take_census
from core.labelling.classes import join_labels_of_older_release
from core.models.manifest import Manifest
from core.models.servable import Servable
from core.registry import versions
from core.runs import Run
from core.system.background import run_idle, run_low, trim_memory
from training.backbones.backbone_ref import BackboneRef
from training.dataset import TrainingSet, assemble, trainable_classes
from training.embeddings import embed
from training.gate.champions import load_champions
from training.gate.evidence import Decision
from training.pipeline.challenge import fit_challenger, judge
from training.pipeline.context import RunContext
from training.pipeline.export import export_challenger
from training.pipeline.lost_images import find_embedded_only
from training.pipeline.progress import Progress, RunCancelled, RunHandedBack, RunStarved
from training.pipeline.publish import Outcome, SawErased, promote, publish

log = logging.getLogger(__name__)


def attempt(
    context: RunContext,
    run: Run,
    is_stopping: Callable[[], bool],
    on_beat: Callable[[float], None] = lambda now: None,
) -> None:
    """Do a claimed run, and record how it ended.

    Raises StoreError. The lease then expires, and the run is tried again.
    """
    log.info("run.started", extra={"run_id": run.id, "tier": run.tier, "trigger": run.trigger})
    started = time.perf_counter()
    progress = Progress(context.store, run, context.owner, is_stopping, on_beat)
    state = "finished"
    fields: dict[str, Any] = {}
    try:
        # Predictions need the other cores. A BLAS that waits for busy cores is ten times slower
        # than with one thread.
        with threadpool_limits(1):
            outcome = execute(context, run, progress)
        fields = {"outcome": outcome.outcome, "version": outcome.version, "reason": outcome.reason}
    except RunHandedBack:
        with context.store.db.write(durable=False) as conn:
            leases.hand_back(conn, run.id, context.owner, context.store.db.clock())
        log.info("run.handed_back", extra={"run_id": run.id})
        return
    except SawErased:
        with context.store.db.write(durable=False) as conn:
            runs.forget_snapshot(conn, run.id)
            leases.hand_back(conn, run.id, context.owner, context.store.db.clock())
        log.info("run.repeated", extra={"run_id": run.id, "reason": "an example was erased"})
        return
    except RunCancelled:
        state, fields = "cancelled", {"reason": "cancelled on request"}
    except StoreError:
        raise
    except EvergreenError as error:
        state, fields = "failed", {"error": str(error)}
    except Exception as error:
        # Whatever a run raises, the trainer must live on for the next.
        log.exception("run.crashed", extra={"run_id": run.id})
        state, fields = "failed", {"error": f"{type(error).__name__}: {error}"}
    with context.store.db.write(durable=False) as conn:
        now = context.store.db.clock()
        leases.finish(conn, run.id, context.owner, state=state, now=now, **fields)
    duration_s = round(time.perf_counter() - started, 3)
    log.info(f"run.{state}", extra={"run_id": run.id, "duration_s": duration_s, **fields})
    # glibc keeps what fits have freed, and the next fit with one more label needs other sizes.
    trim_memory()


def execute(context: RunContext, run: Run, progress: Progress) -> Outcome:
    """Train, judge, publish, and wait until every worker serves the version or the gate rejects it.

    Raises NotEnoughLabels, RunCancelled, RunHandedBack, ArtifactError or StoreError.
    """
    with context.store.db.read() as conn:
        published = versions.by_run(conn, run.id)
    if published is None:
        train = partial(_train_challenger, context, progress=progress)
        try:  # predictions come first on the cores that both use
            challenger = run_idle(partial(train, run), progress.renew_lease)
        except RunStarved:
            log.info("run.starved", extra={"run_id": run.id})
            with context.store.db.read() as conn:
                run = runs.get(conn, run.id)  # has its snapshot now, which checkpoints depend on
            challenger = run_low(partial(train, run), progress.renew_lease)
        if isinstance(challenger, str):
            return Outcome("held-back", None, challenger)
        progress.report("publishing", 0.85)
        published = publish(context, run, *challenger)
    else:
        log.info("run.resumed", extra={"run_id": run.id, "version": published.number})
    reason = str(published.gate["reason"])
    if not published.passed_gate:
        return Outcome("held-back", published.number, reason)
    return promote(context, published, reason, progress)


def _train_challenger(
    context: RunContext, run: Run, progress: Progress
) -> tuple[Manifest, Decision] | str:
    """Return the manifest to publish and the gate's decision, or why there is no challenger."""
    candidate = _choose_backbone(context, run, progress)
    if isinstance(candidate, str):
        return candidate
    progress.report("reading labels", 0.0)
    champions = load_champions(context.store, context.runtime, context.champions)
    candidate = candidate or BackboneRef.from_manifest(champions.current.manifest)
    training_set = _read_training_set(context, candidate, champions.current.servable, progress)

    progress.report("training", 0.5)
    parent = champions.current.manifest
    fitted = fit_challenger(context, candidate, training_set.dataset, parent, progress.should_stop)

    progress.report("judging", 0.75)
    challenger = export_challenger(context, run, candidate, training_set, fitted)
    manifest, decision = judge(context, run, training_set, champions, challenger)
    return manifest, replace(decision, reason=decision.reason + training_set.describe_lost())


def _choose_backbone(context: RunContext, run: Run, progress: Progress) -> BackboneRef | str | None:
    """Return the backbone to train a head on, or why tuning found none. None: the champion's."""
    if run.tier == "backbone":
        return BackboneRef.from_request(run.parameters["wanted"]["backbone"], context.store.signer)
    if run.tier == "blocks":
        try:
            from training.pipeline.tune_blocks import tune_champion
        except ModuleNotFoundError as error:
            raise NotReady(
                f"fine-tuning needs {error.name}, which is not installed: "
                "pip install 'torch==2.13.0' 'evergreen-classifier[training]'"
            ) from error
        progress.scale_to(0.0, 0.7)
        candidate: BackboneRef | str = tune_champion(context, run, progress)
        progress.scale_to(0.7, 1.0)
        return candidate
    return None


def _read_training_set(
    context: RunContext, candidate: BackboneRef, champion: Servable, progress: Progress
) -> TrainingSet:
    """Read all labels of this moment, and the embeddings of their examples."""
    store = context.store
    join_labels_of_older_release(store.db)
    with store.db.read() as conn:
        snapshot = labels.newest_id(conn)
        rows = labels.current(conn, snapshot)
    check_enough(take_census(rows))
    num_trained = sum(not row.is_held_out and is_class(row.label) for row in rows)
    progress.record_snapshot(snapshot, context.recipe, num_trained)

    progress.report("embedding", 0.05)
    vectors = embed(
        store,
        context.runtime.backbone(candidate.digest, store.blobs),
        candidate.input_spec,
        rows,
        context.limits,
        lambda fraction: progress.report("embedding", 0.05 + 0.45 * fraction),
        context.embeddings,
    )
    has_other_backbone = candidate.digest != champion.manifest.backbone
    champion_vectors = vectors
    if has_other_backbone:
        spec = champion.manifest.input_spec
        champion_vectors = embed(store, champion.backbone, spec, rows, context.limits)
    # One backbone may have embedded an image before it was lost, and both need the same rows.
    readable = vectors.keys() & champion_vectors.keys()
    left_out = tuple(row.example_id for row in rows if row.example_id not in readable)
    rows = [row for row in rows if row.example_id in readable]
    classes = trainable_classes(rows, left_out)
    dataset = assemble(rows, vectors, classes)
    champion_dataset = assemble(rows, champion_vectors, classes) if has_other_backbone else dataset
    embedded_only = find_embedded_only(store, rows)
    return TrainingSet(dataset, champion_dataset, snapshot, left_out, embedded_only)
