"""The slot: which version answers now in this process, and which from a later time on.

A request takes the reference once and keeps it: the old version lives until its last request ends.

Workers know the time with an error. One that cannot tell whether the time of a switch has come
waits until it can, so no worker answers with the old version after another has with the new one
(Corbett et al. 2012, "Spanner").
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from core.errors import NotReady
from core.models.servable import Servable
from core.registry.activations import effective_from
from core.registry.promotions import Activation


class Slot:
    def __init__(
        self, clock: Callable[[], float], error_s: Callable[[], float] = lambda: 0.0
    ) -> None:
        """`clock` is the one that times of activations are by, the database's, and `error_s` how
        wrong it may be."""
        self._clock = clock
        self._error_s = error_s
        self._lock = threading.Lock()
        self._current: Servable | None = None
        self._next: tuple[float, Servable] | None = None
        # The newest activation that was put here; 0: none.
        self.activation_id = 0

    def current(self) -> Servable:
        """The version to answer with now. Raises NotReady before the first."""
        self._settle()
        if self._current is None:
            raise NotReady("no version is loaded yet; try again in a second")
        return self._current

    @property
    def version(self) -> int | None:
        return self.current().version if self._current is not None else None

    @property
    def is_switch_ahead(self) -> bool:
        self._switch()
        return self._next is not None

    def put(self, servable: Servable, activation_id: int = 0) -> None:
        """Answer with this version from now on."""
        with self._lock:
            self._current, self._next = servable, None
            self.activation_id = max(self.activation_id, activation_id)

    def put_at(self, servable: Servable, activation: Activation) -> bool:
        """Answer with this version from the activation's time on.

        It replaces one that is not due yet. False if the activation is not newer than the last one.
        """
        self._settle()  # one that is due is not replaced: it comes first
        with self._lock:
            if activation.id <= self.activation_id:
                return False
            self._next = (activation.activate_at, servable)
            self.activation_id = activation.id
        self._switch()
        return True

    def _settle(self) -> None:
        upcoming = self._next
        if upcoming is not None:
            self._wait_while_unsure(upcoming[0])
            self._switch()

    def _switch(self) -> None:
        with self._lock:
            if self._next is not None and self._is_due(self._next[0]):
                self._current, self._next = self._next[1], None

    def _is_due(self, activate_at: float) -> bool:
        now = self._clock()
        return now - self._error_s() >= effective_from(activate_at, now)

    def _wait_while_unsure(self, activate_at: float) -> None:
        """A few milliseconds, or none."""
        while not self._is_due(activate_at):
            remaining_s = activate_at + self._error_s() - self._clock()
            if remaining_s > 2 * self._error_s():
                return  # surely not
            time.sleep(max(remaining_s, 1e-4))
