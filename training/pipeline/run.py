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
from training.backbones.backbone_ref import BackboneRef
from training.dataset import assemble
from training.embeddings import embed
from training.gate import champions
from training.gate.evidence import Decision
from training.pipeline.challenge import challenge
from training.pipeline.context import Workshop
from training.pipeline.progress import Progress, Stopped

_MAX_TRIES = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    outcome: str
    # None: nothing came of it that was worth publishing.
    version: int | None
    reason: str


def execute(shop: Workshop, run: Run, progress: Progress) -> Outcome:
    """Train, judge, publish, and wait until every worker answers with it or the gate said no.

    Raises NotEnoughLabels, Stopped, Handed, ArtifactError or StoreError.
    """
    with shop.store.db.read() as conn:
        published = versions.by_run(conn, run.id)
    if published is None:
        # Predictions come first, on the cores that they share with this.
        challenger = run_idle(partial(_challenger, shop, run, progress), progress.keep)
        if isinstance(challenger, str):
            return Outcome("held-back", None, challenger)
        progress.tell("publishing", 0.85)
        published = _publish(shop, run, *challenger)
    else:
        log.info("run.resumed", extra={"run_id": run.id, "version": published.number})
    reason = str(published.gate["reason"])
    if not published.passed_gate:
        return Outcome("held-back", published.number, reason)
    return _see_through(shop, published, reason, progress)


def _challenger(shop: Workshop, run: Run, progress: Progress) -> tuple[Manifest, Decision] | str:
    """Trained and judged. A text: why there is none."""
    candidate = _candidate(shop, run, progress)
    return candidate if isinstance(candidate, str) else _train(shop, run, candidate, progress)


def _candidate(shop: Workshop, run: Run, progress: Progress) -> BackboneRef | str | None:
    """The backbone to train a head on; None: the champion's of that moment. A text: why there is
    none to try."""
    if run.tier == "backbone":
        return BackboneRef.from_json(run.parameters["wanted"]["backbone"])
    if run.tier == "blocks":
        try:
            from training.pipeline.tune_blocks import tune_champion
        except ModuleNotFoundError as error:
            raise NotReady(
                f"fine-tuning needs {error.name}, which is not installed: "
                "pip install 'torch==2.13.0' 'evergreen-classifier[training]'"
            ) from error
        progress.narrow(0.0, 0.7)
        candidate: BackboneRef | str = tune_champion(shop, run, progress)
        progress.narrow(0.7, 1.0)
        return candidate
    return None


def _train(
    shop: Workshop, run: Run, wanted: BackboneRef | None, progress: Progress
) -> tuple[Manifest, Decision]:
    store = shop.store
    progress.tell("reading labels", 0.0)
    with store.db.read() as conn:
        snapshot = labels.newest_id(conn)
        rows = labels.current(conn, snapshot)
    census = take_census(rows)
    check_enough(census)
    progress.note_labels(snapshot, shop.recipe)
    contender, earlier = champions.standing(store, shop.runtime, shop.champions)
    parent = contender.servable.manifest
    candidate = wanted or BackboneRef.from_manifest(parent)
    backbone = shop.runtime.backbone(candidate.digest, store.blobs)

    progress.tell("embedding", 0.05)
    vectors = embed(
        store,
        backbone,
        candidate.pixels,
        rows,
        shop.limits,
        lambda fraction: progress.tell("embedding", 0.05 + 0.45 * fraction),
        shop.vectors,
    )
    dataset = assemble(rows, vectors, census.classes)
    champion_dataset = dataset
    if candidate.digest != parent.backbone:
        old_vectors = embed(store, contender.servable.backbone, parent.pixels, rows, shop.limits)
        champion_dataset = assemble(rows, old_vectors, census.classes)

    return challenge(
        shop,
        run,
        progress,
        candidate,
        backbone,
        snapshot,
        (dataset, champion_dataset),
        (contender, earlier),
    )


def _publish(shop: Workshop, run: Run, manifest: Manifest, decision: Decision) -> Version:
    """Raises Stopped if the lease is another trainer's by now."""
    store = shop.store
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
                if not leases.beat(conn, run.id, shop.owner, now, "publishing", 0.9):
                    raise Stopped
                versions.add(conn, numbered, digest, decision.to_json())
                if decision.promote:
                    why = decision.reason
                    promotions.request(conn, numbered.version, who="trainer", why=why, now=now)
                return versions.get(conn, numbered.version)
        except VersionTaken:  # by another trainer
            if num_tries == _MAX_TRIES:
                raise


def _see_through(shop: Workshop, published: Version, reason: str, progress: Progress) -> Outcome:
    """Wait for the swap. The workers do it; with none alive this moves the promotion on itself."""
    db = shop.store.db
    progress.tell("swapping", 0.95)
    with db.read() as conn:
        promotion = promotions.newest_promotion_of(conn, published.number)
    while promotion is not None:
        ended = wait_for_promotion(db, promotion.id, lambda: progress.tell("swapping", 0.95))
        if ended.activate_at is not None:
            break
        seen = promotion.id
        with db.read() as conn:
            promotion = promotions.newest_promotion_of(conn, published.number)
        if promotion is None or promotion.id == seen:
            return Outcome("held-back", published.number, f"not swapped in: {ended.error}")
        # Somebody else wished for it meanwhile, which took the place of the run's own wish.
    return Outcome("promoted", published.number, reason)
