"""One run, from the labels to the champion. Read it from top to bottom."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial

from core import leases
from core.errors import NotReady, VersionTaken
from core.labelling import labels
from core.labelling.census import check_enough, take_census
from core.models.manifest import Manifest
from core.registry import promotions, versions
from core.registry.versions import Version
from core.registry.wait import wait_for_promotion
from core.runs import Run
from core.system.background import run_idle
from training.backbones.candidate import Candidate
from training.dataset import assemble
from training.embeddings import embed
from training.gate import champions
from training.gate.evidence import Decision
from training.pipeline.challenge import challenge
from training.pipeline.context import RunContext
from training.pipeline.progress import Progress, RunCancelled

_MAX_TRIES = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    outcome: str
    # None: nothing came of it that was worth publishing.
    version: int | None
    reason: str


def execute(context: RunContext, run: Run, progress: Progress) -> Outcome:
    """Train, judge, publish, and wait until every worker answers with it or the gate said no.

    Raises NotEnoughLabels, RunCancelled, RunHandedBack, ArtifactError or StoreError.
    """
    with context.store.db.read() as conn:
        published = versions.by_run(conn, run.id)
    if published is None:
        # Predictions come first, on the cores that they share with this.
        challenger = run_idle(partial(_challenger, context, run, progress), progress.renew_lease)
        if isinstance(challenger, str):
            return Outcome("held-back", None, challenger)
        progress.report("publishing", 0.85)
        published = _publish(context, run, *challenger)
    else:
        log.info("run.resumed", extra={"run_id": run.id, "version": published.number})
    reason = str(published.gate["reason"])
    if not published.passed_gate:
        return Outcome("held-back", published.number, reason)
    return _see_through(context, published, reason, progress)


def _challenger(
    context: RunContext, run: Run, progress: Progress
) -> tuple[Manifest, Decision] | str:
    """Trained and judged. A text: why there is none."""
    candidate = _candidate(context, run, progress)
    return candidate if isinstance(candidate, str) else _train(context, run, candidate, progress)


def _candidate(context: RunContext, run: Run, progress: Progress) -> Candidate | str | None:
    """The backbone to train a head on; None: the champion's of that moment. A text: why there is
    none to try."""
    if run.tier == "backbone":
        return Candidate.from_json(run.parameters["wanted"]["backbone"])
    if run.tier == "blocks":
        try:
            from training.pipeline.tune_blocks import tune_champion
        except ModuleNotFoundError as error:
            raise NotReady(
                f"fine-tuning needs {error.name}, which is not installed: "
                "pip install 'torch==2.13.0' 'evergreen-classifier[training]'"
            ) from error
        progress.scale_to(0.0, 0.7)
        candidate: Candidate | str = tune_champion(context, run, progress)
        progress.scale_to(0.7, 1.0)
        return candidate
    return None


def _train(
    context: RunContext, run: Run, wanted: Candidate | None, progress: Progress
) -> tuple[Manifest, Decision]:
    store = context.store
    progress.report("reading labels", 0.0)
    with store.db.read() as conn:
        snapshot = labels.newest_id(conn)
        rows = labels.current(conn, snapshot)
    census = take_census(rows)
    check_enough(census)
    progress.note_labels(snapshot, context.recipe)
    contender, earlier = champions.load_champions(store, context.runtime, context.champions)
    parent = contender.servable.manifest
    candidate = wanted or Candidate.of(parent)
    backbone = context.runtime.backbone(candidate.digest, store.blobs)

    progress.report("embedding", 0.05)
    vectors = embed(
        store,
        backbone,
        candidate.pixels,
        rows,
        context.limits,
        lambda fraction: progress.report("embedding", 0.05 + 0.45 * fraction),
        context.vectors,
    )
    dataset = assemble(rows, vectors, census.classes)
    champion_dataset = dataset
    if candidate.digest != parent.backbone:
        old_vectors = embed(store, contender.servable.backbone, parent.pixels, rows, context.limits)
        champion_dataset = assemble(rows, old_vectors, census.classes)

    return challenge(
        context,
        run,
        progress,
        candidate,
        backbone,
        snapshot,
        (dataset, champion_dataset),
        (contender, earlier),
    )


def _publish(context: RunContext, run: Run, manifest: Manifest, decision: Decision) -> Version:
    """Raises RunCancelled if the lease is another trainer's by now."""
    store = context.store
    num_tries = 0
    while True:
        num_tries += 1
        with store.db.read() as conn:
            published = versions.by_run(conn, run.id)
            numbered = versions.under_next_number(conn, manifest)
        if published is not None:
            return published
        # Before the transaction, whose lock predictions wait for: the disk is slow.
        digest = store.blobs.put(numbered.to_bytes())
        try:
            with store.db.write() as conn:
                now = time.time()
                if not leases.beat(conn, run.id, context.owner, now, "publishing", 0.9):
                    raise RunCancelled
                versions.add(conn, numbered, digest, decision.to_json())
                if decision.promote:
                    why = decision.reason
                    promotions.request(conn, numbered.version, who="trainer", why=why, now=now)
                return versions.get(conn, numbered.version)
        except VersionTaken:  # by another trainer
            if num_tries == _MAX_TRIES:
                raise


def _see_through(
    context: RunContext, published: Version, reason: str, progress: Progress
) -> Outcome:
    """Wait for the swap. The workers do it; with none alive this moves the promotion on itself."""
    db = context.store.db
    progress.report("swapping", 0.95)
    with db.read() as conn:
        promotion = promotions.newest_promotion_of(conn, published.number)
    while promotion is not None:
        ended = wait_for_promotion(db, promotion.id, lambda: progress.report("swapping", 0.95))
        if ended.activate_at is not None:
            break
        seen = promotion.id
        with db.read() as conn:
            promotion = promotions.newest_promotion_of(conn, published.number)
        if promotion is None or promotion.id == seen:
            return Outcome("held-back", published.number, f"not swapped in: {ended.error}")
        # Somebody else wished for it meanwhile, which took the place of the run's own wish.
    return Outcome("promoted", published.number, reason)
