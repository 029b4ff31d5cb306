"""Self-healing: goes back to the version before the champion when labels show that it was better.

Looks when a label has come, and only ever from the champion to the one before it in the order of
activations. A version that was left is not before any other one (`activations.version_before`), so
nothing but a person or a new version can follow: it never goes to and fro.
"""

from __future__ import annotations

import logging

from core.errors import PromotionConflict
from core.labelling import labels
from core.registry import activations, promotions, versions
from core.registry.latest import Latest
from core.registry.promotions import Activation
from core.shadows import answers, outcomes
from core.store.store import Store
from training.worker import sequential_test

# Labels may come by the hundred; each look reads all since the activation.
_EVERY_S = 0.5

log = logging.getLogger(__name__)


class Healing:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._looked_at = 0.0
        self._seen: tuple[int, int] | None = None
        self._told_of = 0

    def look(self, now: float, standing: Latest) -> None:
        """Compare, if there is a new label; ask for a rollback where it is called for."""
        activation = standing.newest
        # Another version is on its way: it will be compared in its turn.
        if activation is None or standing.waiting is not None:
            return
        state = (activation.id, standing.newest_label)
        if now < activation.activate_at:
            self._seen = state  # labels so far are of answers before it
        if state == self._seen or now - self._looked_at < _EVERY_S:
            return
        self._looked_at = now
        with self._store.db.read() as conn:
            before = activations.version_before(conn)
            if before is None:
                self._seen = state
                return
            live = activation.version
            found = outcomes.paired(
                conn,
                before,
                after=versions.get(conn, live).snapshot,
                champion=live,
                since=activation.activate_at,
            )
            tally = answers.tally(conn, before, champion=live)
            since = labels.moment_of(conn, state[1] - sequential_test.LABELS_OF_ONE_ALARM)
            num_activations = activations.count_since(conn, since)
        self._seen = state
        verdict = sequential_test.judge(live, before, found, tally, num_activations)
        if verdict.is_worse:
            self._roll_back(activation, before, verdict.why, now)
        elif verdict.why and self._told_of != activation.id:
            self._told_of = activation.id
            log.warning("healing.withheld", extra={"version": live, "why": verdict.why})

    def _roll_back(self, activation: Activation, before: int, why: str, now: float) -> None:
        try:
            with self._store.db.write() as conn:
                promotions.request(
                    conn,
                    before,
                    who=promotions.SELF_HEALING,
                    why=why,
                    now=now,
                    expected_activation=activation.id,
                )
        except PromotionConflict:
            return  # a person was quicker
        log.warning(
            "healing.rolled_back",
            extra={"version": activation.version, "to": before, "why": why},
        )
