"""The follower of the champion: the version that the newest activation names is handed to the
slot, for the moment that it names.

A worker may answer only while its last look is fresh: an activation names a moment far enough ahead
that every fresh worker has seen it by then. One that was held up looks again before it answers, so
nobody who has seen a version is ever answered by the one before it.
"""

from __future__ import annotations

import logging
import threading
import time

from core.errors import EvergreenError, StoreError
from core.labelling import labels
from core.models.servable import Servable
from core.registry import activations, latest, promotions, workers
from core.registry.latest import Latest
from core.registry.promotions import Activation
from core.store.store import Store
from service import metrics
from service.swap.heartbeat import Heartbeat
from service.swap.loaded_versions import LoadedVersions
from service.swap.slot import Slot

# Well below `champion.ACTIVATION_LEAD_S`: the time that writing the activation takes is the margin.
FRESH_S = 0.25
# A blob store that does not answer may come back. As long as others would wait for a promotion.
GIVE_UP_AFTER_S = promotions.MAX_WAIT_S
_TRY_AGAIN_S = 1.0
_FALL_BACK_ON = 20

log = logging.getLogger(__name__)


class Follower:
    def __init__(
        self, store: Store, slot: Slot, loaded: LoadedVersions, heartbeat: Heartbeat
    ) -> None:
        self._store = store
        self._slot = slot
        self._loaded = loaded
        self._heartbeat = heartbeat
        self._lock = threading.Lock()
        self._fresh_until = 0.0
        self._standing = Latest()
        # Ids: of the newest activation that was followed, and of the promotion seen last.
        self._followed = 0
        self._noticed: tuple[int, float] = (0, 0.0)
        # The newest label event that a version followed here was trained on.
        self._seen_label = 0
        # Of an activation whose version is not to be had: when to try again, when to give it up.
        self._missing: tuple[int, float, float] = (0, 0.0, 0.0)

    def start(self) -> None:
        """Answer with the champion; if it cannot be loaded, with the newest before it that can.

        Raises StoreError if there is none.
        """
        with self._store.db.read() as conn:
            found = activations.history(conn, _FALL_BACK_ON)
        # What is to answer only in a moment is followed like any other change.
        now = time.time()
        effective = [a for a in found if a.activate_at <= now] or found
        followed = effective[0].id if effective else 0
        problem: EvergreenError | None = None
        for activation in effective:
            try:
                self._slot.put(self._loaded.load(activation.version))
            except EvergreenError as error:
                self._heartbeat.record_failure(activation.promotion_id, activation.version, error)
                problem = problem or error
                if isinstance(error, StoreError) and activation.id == followed:
                    followed = 0  # it may be there at the next look
                continue
            self._followed = followed
            return
        raise StoreError(
            "no version can be loaded; restore the blob store, or begin with an empty home folder"
        ) from problem

    @property
    def is_stale(self) -> bool:
        """The last look is too old to answer by."""
        return time.monotonic() > self._fresh_until

    def ensure_fresh(self) -> None:
        """Look now, unless another thread just did.

        With the database gone, the version that answers goes on: no new one can be activated.
        """
        with self._lock:
            if not self.is_stale:
                return
            try:
                self._poll()
            except StoreError as error:
                log.warning("swap.store_unavailable", extra={"error": str(error)})
                self._fresh_until = time.monotonic() + FRESH_S

    def poll(self) -> Latest:
        """The newest activation of it is followed from now on. Raises StoreError if the database
        does not answer."""
        with self._lock:
            return self._poll()

    def _poll(self) -> Latest:
        looked_at = time.monotonic()
        self._standing = latest.poll(self._store.db, self._standing)
        waiting, newest = self._standing.pending, self._standing.activation
        if waiting is not None and waiting.id != self._noticed[0]:
            self._noticed = (waiting.id, time.time())
        if newest is not None and newest.id != self._followed:
            self._follow(newest)
        self._fresh_until = looked_at + FRESH_S
        return self._standing

    def _follow(self, activation: Activation) -> None:
        try:
            servable = self._loaded.get(activation.version) or self._load(activation)
        except EvergreenError as error:
            self._heartbeat.record_failure(activation.promotion_id, activation.version, error)
            self._followed = activation.id
            return
        if servable is None:
            return
        self._heartbeat.clear_failure(activation.promotion_id)
        self._slot.put_at(servable, activation.activate_at)
        self._followed = activation.id
        promotion_id, noticed_at = self._noticed
        if promotion_id != activation.promotion_id:
            noticed_at = activation.created_at
        metrics.swap_seconds.observe(max(0.0, activation.activate_at - noticed_at))
        log.info(
            "swap.scheduled",
            extra={"version": activation.version, "activate_at": activation.activate_at},
        )
        self._observe_labels(activation, servable.manifest.snapshot)

    def _load(self, activation: Activation) -> Servable | None:
        """None if it is to be tried again at a later look. Raises EvergreenError if not."""
        now = time.monotonic()
        activation_id, again_at, give_up_at = self._missing
        if activation_id != activation.id:
            again_at, give_up_at = now, now + GIVE_UP_AFTER_S
        if now < again_at:
            return None
        try:
            return self._loaded.load(activation.version)
        except StoreError as error:
            if now >= give_up_at:
                raise
            self._heartbeat.record_failure(activation.promotion_id, activation.version, error)
            self._missing = (activation.id, now + _TRY_AGAIN_S, give_up_at)
            return None

    def _observe_labels(self, activation: Activation, snapshot: int) -> None:
        """How long the labels waited that this activation is the first to answer with.

        The worker that is listed first counts them: a trainer may have written the activation.
        """
        if snapshot <= self._seen_label:
            return
        self._seen_label = snapshot
        with self._store.db.read() as conn:
            live = workers.live(conn, time.time(), "serving")
            if not live or live[0].id != self._heartbeat.worker_id:
                return
            before = activations.newest_label_before(conn, activation.id)
            acknowledged = labels.times_between(conn, before, snapshot)
        for created_at in acknowledged:
            metrics.label_to_live_seconds.observe(activation.activate_at - created_at)
