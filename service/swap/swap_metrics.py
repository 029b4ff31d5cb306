"""What the swap measures: how long a swap took, and how long labels waited to be live."""

from __future__ import annotations

from core.labelling import labels
from core.registry import activations, workers
from core.registry.promotions import Activation, Promotion
from core.store.store import Store
from service import metrics


class SwapMetrics:
    def __init__(self, store: Store, worker_id: str) -> None:
        self._store = store
        self._worker_id = worker_id
        # The pending promotion that was seen last, and when.
        self._promotion_id = 0
        self._seen_at = 0.0
        # The newest label event that a version scheduled here was trained on.
        self._newest_label = 0

    def see(self, pending: Promotion | None) -> None:
        if pending is not None and pending.id != self._promotion_id:
            self._promotion_id, self._seen_at = pending.id, self._store.db.clock()

    def observe(self, activation: Activation, snapshot: int) -> None:
        """A version was scheduled that was trained on the labels up to `snapshot`. Raises
        StoreError."""
        is_seen = self._promotion_id == activation.promotion_id
        began_at = self._seen_at if is_seen else activation.created_at
        metrics.swap_seconds.observe(max(0.0, activation.activate_at - began_at))
        self._observe_labels(activation, snapshot)

    def _observe_labels(self, activation: Activation, snapshot: int) -> None:
        """Observe each label that becomes live with this activation.

        Only the worker that is listed first does, so that a label counts once.
        """
        if snapshot <= self._newest_label:
            return
        self._newest_label = snapshot
        with self._store.db.read() as conn:
            live = workers.live(conn, self._store.db.clock(), "serving")
            if not live or live[0].id != self._worker_id:
                return
            before = activations.newest_label_before(conn, activation.id)
            acknowledged = labels.times_between(conn, before, snapshot)
        for created_at in acknowledged:
            metrics.label_to_live_seconds.observe(activation.activate_at - created_at)
