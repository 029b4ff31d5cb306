"""Self-healing: roll back to the version before the champion when labels show that it was better.

It compares the champion only with the version before it in the order of activations. A version
that was left does not count as before any other (`activations.version_before`). So only a person
or a new version can follow a rollback, and it never oscillates.
"""

from __future__ import annotations

import logging

from sqlalchemy import Connection

from core.errors import PromotionConflict, PromotionFailed
from core.labelling import labels
from core.registry import activations, promotions, version_files, versions
from core.registry.latest import Latest
from core.registry.promotions import Activation
from core.shadows import answers
from core.shadows.outcomes import RunningOutcomes
from core.store.store import Store
from training.worker import sequential_test

# Labels may come by the hundred.
_CHECK_EVERY_S = 0.5

log = logging.getLogger(__name__)


class SelfHealing:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._checked_at = 0.0
        # The activation and the newest label of the last check.
        self._checked: tuple[int, int] | None = None
        self._logged_activation = 0
        # Whose outcomes: the activation, the version before it, and from when on.
        self._follows = (0, 0, 0.0)
        self._outcomes = RunningOutcomes(0, after=0, champion=0, since=0.0)

    def check(self, now: float, latest: Latest) -> None:
        """If there is a new label, compare, and request a rollback if the champion is worse."""
        activation = latest.activation
        # With another version on its way, wait: that one will be compared.
        if activation is None or latest.pending is not None:
            return
        state = (activation.id, latest.newest_label)
        began_at = activations.effective_from(activation.activate_at, now)
        if now < began_at:
            self._checked = state  # labels so far are for predictions of other versions
        if state == self._checked or abs(now - self._checked_at) < _CHECK_EVERY_S:
            return
        self._checked_at = now
        with self._store.db.read() as conn:
            before = activations.version_before(conn)
            if before is None:
                self._checked = state
                return
            live = activation.version
            self._follow(conn, activation, before, began_at)
            tally = answers.tally(conn, before, champion=live)
            since = labels.moment_of(conn, state[1] - sequential_test.LABELS_PER_FALSE_ALARM)
            num_activations = activations.count_since(conn, since)
        self._checked = state
        counts = self._outcomes.counts
        verdict = sequential_test.decide(live, before, counts, tally, num_activations)
        if verdict.is_worse:
            self._roll_back(activation, before, verdict.why, now)
        elif verdict.why:
            self._say_withheld(activation, verdict.why)

    def _say_withheld(self, activation: Activation, why: str) -> None:
        if self._logged_activation != activation.id:
            self._logged_activation = activation.id
            log.warning("healing.withheld", extra={"version": activation.version, "why": why})

    def _follow(
        self, conn: Connection, activation: Activation, before: int, began_at: float
    ) -> None:
        """Bring the outcomes up to date: of these two versions, since the activation."""
        live = activation.version
        followed = (activation.id, before, began_at)
        if followed != self._follows:
            self._follows = followed
            after = versions.get(conn, live).snapshot
            self._outcomes = RunningOutcomes(before, after=after, champion=live, since=began_at)
        self._outcomes.update(conn)

    def _roll_back(self, activation: Activation, before: int, why: str, now: float) -> None:
        try:
            version_files.check_loadable(before, self._store)
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
            return  # another activation came first
        except PromotionFailed as error:
            self._say_withheld(activation, str(error))
            return
        log.warning(
            "healing.rolled_back",
            extra={"version": activation.version, "to": before, "why": why},
        )
