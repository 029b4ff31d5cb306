"""The contenders of a challenger: the champion, and champions before it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core import activations, labels, versions
from core.errors import EvergreenError
from core.labels import CurrentLabel
from core.servable import Runtime, Servable, load
from core.store import Store
from core.versions import Version

_MAX_EARLIER = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A version that answered before. `seen` reads the labels that it was trained on."""

    servable: Servable
    seen: Callable[[], Sequence[CurrentLabel]]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.servable.manifest.classes

    @property
    def is_starter(self) -> bool:
        return self.servable.manifest.snapshot == 0


def standing(
    store: Store, runtime: Runtime, loaded: dict[int, Servable]
) -> tuple[Contender, list[Servable]]:
    """The champion with the labels that it was trained on, and champions before it that share
    its backbone and can still be loaded. Afterwards `loaded` holds these, by version: who asks
    again need not load them all."""
    with store.db.read() as conn:
        history = activations.history(conn, 10 * _MAX_EARLIER)
        numbers = list(dict.fromkeys(activation.version for activation in history))
        rows = [versions.get(conn, number) for number in numbers[: _MAX_EARLIER + 1]]
    live, *before = rows

    def seen() -> list[CurrentLabel]:
        with store.db.read() as conn:
            return labels.current(conn, live.snapshot)

    def load_once(version: Version) -> Servable:
        if version.number not in loaded:
            loaded[version.number] = _load(store, runtime, version)
        return loaded[version.number]

    # Of another backbone, they would keep that loaded as well.
    sharing = [version for version in before if version.backbone == live.backbone]
    for number in loaded.keys() - {version.number for version in (live, *sharing)}:
        del loaded[number]
    servable = load_once(live)
    earlier = []
    for version in sharing:
        try:
            earlier.append(load_once(version))
        except EvergreenError as error:
            log.warning("version.load_failed", extra={"version": version.number, "error": error})
    return Contender(servable, seen), earlier


def _load(store: Store, runtime: Runtime, version: Version) -> Servable:
    return load(versions.read_manifest(version, store.blobs), store.blobs, runtime)
