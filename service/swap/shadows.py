"""This process's shadows: follows which versions they are, and loads them one at a time.

Part of the swap's tick, so that loading never holds up a request. The champion before this one
is kept loaded too, whatever its backbone: a rollback to it is at once, and a request may pin it.
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
        self._choice = ShadowSelection()
        self._chosen_for: tuple[int, int | None] | None = None
        # Not tried again in this process: what made them fail is seldom mended meanwhile.
        self._failed: set[int] = set()
        self._told: set[tuple[int, str]] = set()
        self.current: tuple[Servable, ...] = ()

    @property
    def kept(self) -> set[int]:
        """What must stay loaded."""
        return {*self._choice.shadows, *([self._choice.previous] if self._choice.previous else [])}

    def select(self, activation: Activation, newest_version: int | None) -> None:
        """Anew where something has changed. Before anything is dropped: what was left just now
        would otherwise be loaded again."""
        state = (activation.id, newest_version)
        if state != self._chosen_for:
            with self._store.db.read() as conn:
                self._choice = selection.select(conn, activation, self._named)
            self._chosen_for = state

    def load(self) -> None:
        """At most one version that is not there yet."""
        for number, reason in self._choice.skipped.items():
            self._tell(number, reason)
        missing = [n for n in self.kept if n not in self._loaded and n not in self._failed]
        if missing:
            self._load(missing[0])
        found = [self._loaded.get(number) for number in self._choice.shadows]
        self.current = tuple(servable for servable in found if servable is not None)

    def _load(self, number: int) -> None:
        try:
            self._loaded.load(number)
        except EvergreenError as error:
            self._failed.add(number)
            self._tell(number, str(error))

    def _tell(self, number: int, reason: str) -> None:
        if (number, reason) not in self._told:
            self._told.add((number, reason))
            log.warning("shadow.skipped", extra={"version": number, "reason": reason})
