"""This process's shadows: follows which versions they are, and loads them one at a time.

The swap's thread does both, so that loading never holds up a request. The champion before this one
stays loaded too, whatever its backbone: a rollback to it loads nothing, and a request may pin it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from core.errors import EvergreenError
from core.models.servable import Servable
from core.registry.promotions import Activation
from core.shadows import selection
from core.shadows.selection import ShadowSelection
from core.store.store import Store
from service.swap.loaded_versions import LoadedVersions

log = logging.getLogger(__name__)


class Shadows:
    def __init__(self, store: Store, loaded: LoadedVersions, named: Sequence[int] = ()) -> None:
        self._store = store
        self._loaded = loaded
        self._named = named
        self._selection = ShadowSelection()
        self._selected_for: tuple[int, int | None] | None = None
        # Not retried in this process: the cause rarely goes away by itself.
        self._failed: set[int] = set()
        self._warned: set[tuple[int, str]] = set()

    @property
    def current(self) -> tuple[Servable, ...]:
        """The shadows that are loaded."""
        servables = [self._loaded.get(number) for number in self._selection.shadows]
        return tuple(servable for servable in servables if servable is not None)

    @property
    def to_keep(self) -> set[int]:
        """The versions that must stay loaded."""
        previous = self._selection.previous
        return {*self._selection.shadows, *([previous] if previous else [])}

    def select(self, activation: Activation, newest_version: int | None) -> None:
        """Select them anew if the champion or the newest version has changed."""
        state = (activation.id, newest_version)
        if state != self._selected_for:
            with self._store.db.read() as conn:
                self._selection = selection.select(conn, activation, self._named)
            self._selected_for = state

    def load_next(self) -> None:
        """Load at most one version that is missing."""
        for number, reason in self._selection.skipped.items():
            self._warn_once(number, reason)
        missing = [n for n in self.to_keep if n not in self._loaded and n not in self._failed]
        if missing:
            self._load(missing[0])

    def _load(self, number: int) -> None:
        try:
            self._loaded.load(number)
        except EvergreenError as error:
            self._failed.add(number)
            self._warn_once(number, str(error))

    def _warn_once(self, number: int, reason: str) -> None:
        if (number, reason) not in self._warned:
            self._warned.add((number, reason))
            log.warning("shadow.skipped", extra={"version": number, "reason": reason})
