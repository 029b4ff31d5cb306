"""The executor: carries out what `service/swap/next_action.py` decides.

Two threads use it: the swap's own, and a request's if the last poll is too old to answer by.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from core.errors import EvergreenError
from core.registry import promotions
from core.registry.latest import Latest
from core.registry.promotions import Activation
from core.store.store import Store
from service.swap.heartbeat import Heartbeat
from service.swap.loaded_versions import LoadedVersions
from service.swap.next_action import Advance, Load, Schedule, Wait, next_action
from service.swap.slot import Slot
from service.swap.swap_metrics import SwapMetrics

log = logging.getLogger(__name__)


class Executor:
    def __init__(
        self,
        store: Store,
        slot: Slot,
        loaded: LoadedVersions,
        heartbeat: Heartbeat,
        load_within_s: float,
    ) -> None:
        """A promotion fails if a live worker takes longer than `load_within_s` to load it."""
        self._store = store
        self._slot = slot
        self._loaded = loaded
        self._heartbeat = heartbeat
        self._load_within_s = load_within_s
        self._metrics = SwapMetrics(store, heartbeat.worker_id)

    def execute(self, latest: Latest) -> Latest:
        """Act until nothing is left to do before the next poll.

        Returns what is latest then: this may have decided the promotion. Raises StoreError if the
        database is unavailable.
        """
        self._metrics.see(latest.pending)
        while True:
            loaded, failed = self._loaded.numbers, self._heartbeat.failed_promotions
            match next_action(latest, loaded, self._slot.activation_id, failed):
                case Load(version, promotion_id):
                    self._load(version, promotion_id)
                case Schedule(activation):
                    self._schedule(activation)
                case Advance():
                    written = self._advance()
                    if written is None:
                        return latest
                    latest = replace(latest, pending=None, activation=written)
                case Wait():
                    return latest

    def serve(self, activation: Activation) -> EvergreenError | None:
        """Load the version and serve it now. Returns the error if it cannot be loaded."""
        error = self._load(activation.version, activation.promotion_id)
        servable = self._loaded.get(activation.version)
        if servable is not None:
            self._slot.put(servable, activation.id)
        return error

    def _load(self, version: int, promotion_id: int) -> EvergreenError | None:
        """Returns the error if the version cannot be loaded. The old version keeps serving."""
        try:
            self._loaded.load(version)
        except EvergreenError as error:
            self._heartbeat.record_failure(promotion_id, version, error)
            return error
        self._heartbeat.clear_failure(promotion_id)
        return None

    def _schedule(self, activation: Activation) -> None:
        servable = self._loaded.get(activation.version)
        if servable is None or not self._slot.put_at(servable, activation):
            return  # the other thread has unloaded the version, or was faster
        self._heartbeat.clear_failure(activation.promotion_id)
        log.info(
            "swap.scheduled",
            extra={"version": activation.version, "activate_at": activation.activate_at},
        )
        self._metrics.observe(activation, servable.manifest.snapshot)

    def _advance(self) -> Activation | None:
        """Report and decide in one transaction, so that the last worker to report sees all."""
        with self._store.db.write(durable=False) as conn:
            promotions.lock(conn)  # before the clock is read: another worker may hold it
            self._heartbeat.write_row(conn)
            activation = promotions.advance(conn, self._store.db.clock(), self._load_within_s)
        if activation is not None:
            self._store.db.fsync_wal()
            log.info(
                "version.promoted",
                extra={"version": activation.version, "why": activation.why},
            )
        return activation
