"""Publish what a run has trained, and wait until every worker serves it."""

from __future__ import annotations

from dataclasses import dataclass

from core import erased, leases
from core.errors import VersionTaken
from core.models.manifest import Manifest
from core.registry import promotions, versions
from core.registry.versions import Version
from core.registry.wait import wait_for_promotion
from core.runs import Run
from training.gate.evidence import Decision
from training.pipeline.context import RunContext
from training.pipeline.progress import Progress, RunCancelled

_MAX_TRIES = 5


class SawErased(Exception):
    """The run has seen an example that was erased since. It is done again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    outcome: str
    # None: there was nothing to publish.
    version: int | None
    reason: str


def publish(context: RunContext, run: Run, manifest: Manifest, decision: Decision) -> Version:
    """Add the version under the next number, and request its promotion if the gate passed it.

    Raises RunCancelled if the lease was lost, SawErased if an example was erased since.
    """
    store = context.store
    num_tries = 0
    while True:
        num_tries += 1
        with store.db.read() as conn:
            published = versions.by_run(conn, run.id)
            numbered = versions.under_next_number(conn, manifest)
        if published is not None:
            return published
        # Predictions wait for the lock of the transaction, so the slow write comes before it.
        digest = versions.put_manifest(numbered, store)
        try:
            with store.db.write() as conn:
                now = context.store.db.clock()
                if not leases.beat(conn, run.id, context.owner, now, "publishing", 0.9):
                    raise RunCancelled
                promotions.lock(conn)  # an erasure is before, or lists this version
                if any(erased.saw_erased(conn, snapshot) for snapshot in _snapshots(numbered)):
                    raise SawErased
                versions.add(conn, numbered, digest, decision.to_json(), now=now)
                if decision.promote:
                    why = decision.reason
                    promotions.request(conn, numbered.version, who="trainer", why=why, now=now)
                return versions.get(conn, numbered.version)
        except VersionTaken:  # by another trainer
            if num_tries == _MAX_TRIES:
                raise


def _snapshots(manifest: Manifest) -> set[int]:
    """The newest label events that the run has trained on. A backbone of an earlier run may have
    seen what was erased since, which the receipt says."""
    is_tuned = manifest.tier == "blocks"
    return {manifest.snapshot, *([manifest.backbone_snapshot] if is_tuned else [])}


def promote(context: RunContext, published: Version, reason: str, progress: Progress) -> Outcome:
    """Wait until the workers have switched. With no live worker, this advances the promotion."""
    db = context.store.db
    progress.report("swapping", 0.95)
    with db.read() as conn:
        promotion = promotions.newest_promotion_of(conn, published.number)
    while promotion is not None:
        result = wait_for_promotion(
            db,
            promotion.id,
            lambda: progress.report("swapping", 0.95),
            wait_s=context.load_within_s,
        )
        if result.activate_at is not None:
            break
        failed_id = promotion.id
        with db.read() as conn:
            promotion = promotions.newest_promotion_of(conn, published.number)
        if promotion is None or promotion.id == failed_id:
            return Outcome("held-back", published.number, f"not swapped in: {result.error}")
        # Somebody else requested the same version, and that request replaced the run's own.
    return Outcome("promoted", published.number, reason)
