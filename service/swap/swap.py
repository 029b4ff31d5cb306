"""The swap: this worker's part in a change of champion.

Ten times a second, and fifty times during a swap, its thread polls the database
(`service/swap/follower.py`), decides what to do (`service/swap/next_action.py`) and does it
(`service/swap/executor.py`). Then it unloads old versions, loads shadows and reports what has
changed. None of this holds up a request.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from core.errors import StoreError
from core.models.backbones import Runtime
from core.registry.latest import Latest
from core.registry.promotions import MAX_WAIT_S
from core.store.store import Store
from service.swap.executor import Executor
from service.swap.follower import Follower
from service.swap.heartbeat import Heartbeat
from service.swap.loaded_versions import LoadedVersions
from service.swap.shadows import Shadows
from service.swap.slot import Slot

TICK_S = 0.1
#: While a promotion is pending or a switch is ahead. Every worker waits for the last one.
TICK_DURING_SWAP_S = 0.02
_PAUSE_AFTER_ERROR_S = 1.0

log = logging.getLogger(__name__)


class Swap:
    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        slot: Slot,
        shadow: Sequence[int] = (),
        load_within_s: float = MAX_WAIT_S,
    ) -> None:
        self._slot = slot
        self.loaded = LoadedVersions(store, runtime)
        self.shadows = Shadows(store, self.loaded, shadow)
        self._heartbeat = Heartbeat(store, runtime, slot, self.loaded)
        self._executor = Executor(store, slot, self.loaded, self._heartbeat, load_within_s)
        self._follower = Follower(store, self._executor)
        self._wake = threading.Event()
        self._pause_s = TICK_S
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="swap", daemon=True)

    def start(self) -> None:
        """Load the champion, report it, and follow it from then on. Raises StoreError if none can
        be loaded."""
        self._follower.start()
        try:
            self._heartbeat.send()
            # Promotions wait for this worker from now on. One that was decided before is seen here.
            self._tick()
        except StoreError as error:  # a full disk: this worker can answer all the same
            log.warning("swap.store_unavailable", extra={"error": str(error)})
        self._thread.start()
        self._heartbeat.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=5)
        self._heartbeat.deregister()

    def wake(self) -> None:
        """Poll now instead of at the next tick."""
        self._wake.set()

    @property
    def is_stale(self) -> bool:
        """The last poll of the activations is too old to answer by."""
        return self._follower.is_stale

    @property
    def store_failing_since(self) -> float | None:
        """Since when the database has not answered polls, as Unix time. None: it does."""
        return self._follower.failing_since

    @property
    def store_answered_at(self) -> float:
        return self._follower.answered_at

    def ensure_fresh(self) -> None:
        """Poll the activations now, unless another thread just did."""
        self._follower.ensure_fresh()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(self._pause_s)
            self._wake.clear()
            self._pause_s = TICK_S
            try:
                if self._tick():
                    self.shadows.load_next()
                else:
                    self._pause_s = TICK_DURING_SWAP_S
            except StoreError as error:
                log.warning("swap.store_unavailable", extra={"error": str(error)})
                self._stop.wait(_PAUSE_AFTER_ERROR_S)
            except Exception:
                # The old version keeps serving, whatever is wrong with the new one.
                log.exception("swap.failed")
                self._stop.wait(_PAUSE_AFTER_ERROR_S)

    def _tick(self) -> bool:
        """Returns whether no swap is under way."""
        latest = self._executor.execute(self._follower.poll())
        is_settled = not self._slot.is_switch_ahead
        if is_settled:
            self._tidy(latest)
        self._heartbeat.send()
        return is_settled and latest.pending is None

    def _tidy(self, latest: Latest) -> None:
        """Select the shadows anew and unload what nothing needs, once the switch is over.

        In this order: a version that has just stopped serving may be a shadow.
        """
        if latest.activation is not None:
            self.shadows.select(latest.activation, latest.newest_version)
        wanted = {self._slot.version, *self.shadows.to_keep}
        wanted.update(each.version for each in (latest.activation, latest.pending) if each)
        self.loaded.retain(wanted)
