"""The swap: this worker's part in a change of champion.

Every tick it looks at two rows. A promotion that waits: load its version beside the one that
answers, say that it is ready (`service/swap/heartbeat.py`), and help to decide
(`core/registry/promotions.py`). A new activation: follow it (`service/swap/follower.py`). Loading
never holds up a request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from core.errors import EvergreenError, StoreError
from core.models.backbones import Runtime
from core.registry import promotions
from core.registry.latest import Latest
from core.registry.promotions import Activation, Promotion
from core.store.store import Store
from service.swap.follower import Follower
from service.swap.heartbeat import Heartbeat
from service.swap.loaded_versions import LoadedVersions
from service.swap.shadows import Shadows
from service.swap.slot import Slot

TICK_S = 0.1

log = logging.getLogger(__name__)


class Swap:
    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        slot: Slot,
        shadow: Sequence[int] = (),
    ) -> None:
        self._store = store
        self._slot = slot
        self.loaded = LoadedVersions(store, runtime)
        self.shadows = Shadows(store, self.loaded, shadow)
        self._heartbeat = Heartbeat(store, runtime, slot, self.loaded)
        self._follower = Follower(store, slot, self.loaded, self._heartbeat)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="swap", daemon=True)

    def start(self) -> None:
        """Load the champion, say so, and follow it from then on. Raises StoreError."""
        self._follower.start()
        self._heartbeat.send()
        # From then on, promotions wait for this worker; one decided before it is seen here.
        self._tick()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=5)
        self._heartbeat.deregister()

    def wake(self) -> None:
        """Look now rather than at the next tick."""
        self._wake.set()

    @property
    def is_stale(self) -> bool:
        """The last look at the activations is too old to answer by."""
        return self._follower.is_stale

    def ensure_fresh(self) -> None:
        """Look at the activations now, unless another thread just did."""
        self._follower.ensure_fresh()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(TICK_S)
            self._wake.clear()
            try:
                if self._tick().pending is None:
                    self.shadows.load()
            except StoreError as error:
                log.warning("swap.store_unavailable", extra={"error": str(error)})
                self._stop.wait(1.0)
            except Exception:
                # The old version goes on answering, whatever is wrong with the new one.
                log.exception("swap.failed")
                self._stop.wait(1.0)

    def _tick(self) -> Latest:
        standing = self._follower.poll()
        waiting, newest = standing.pending, standing.activation
        if waiting is not None:
            self._prepare(waiting)
        self._slot.current()
        if newest is not None:
            self.shadows.select(newest, standing.newest_version)
        self._forget(waiting, newest)
        if waiting is not None and waiting.version in self.loaded:
            self._advance()
        else:
            self._heartbeat.send()
        return standing

    def _prepare(self, promotion: Promotion) -> None:
        if promotion.version in self.loaded or self._heartbeat.has_failed(promotion.id):
            return
        try:
            self.loaded.load(promotion.version, is_beside=True)
        except EvergreenError as error:
            self._heartbeat.record_failure(promotion.id, promotion.version, error)
            with self._store.db.write() as conn:
                self._heartbeat.write_row(conn)
                promotions.advance(conn, time.time())

    def _advance(self) -> None:
        """Say that it is loaded, and decide if this was the last one to say so."""
        activation = promotions.advance_committed(self._store.db, self._heartbeat.write_row)
        if activation is not None:
            log.info(
                "version.promoted",
                extra={"version": activation.version, "why": activation.why},
            )
            self._wake.set()

    def _forget(self, waiting: Promotion | None, newest: Activation | None) -> None:
        """Drop versions that neither answer, nor are about to, nor stand beside the champion.

        Once it has switched: that is told as well, and telling takes longer than dropping.
        """
        if newest is not None and time.time() < newest.activate_at:
            return
        wanted = {self._slot.version, *self.shadows.kept}
        wanted.update(x.version for x in (waiting, newest) if x is not None)
        self.loaded.retain(wanted)
