"""The contenders of a challenger: the champion, and champions before it.

Suffixes: N rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import EvergreenError
from core.labelling import labels
from core.labelling.labels import CurrentLabel
from core.models.backbones import Runtime
from core.models.servable import Servable, load
from core.registry import activations, versions
from core.registry.versions import Version
from core.store.store import Store
from training.dataset import Dataset

_MAX_EARLIER = 20

log = logging.getLogger(__name__)


class CachedPredictions:
    """What a version answers for examples. Neither ever changes, so whoever asks again, about more
    of them, waits for the new ones only."""

    def __init__(self, servable: Servable) -> None:
        self.servable = servable
        # Those of the rows asked for last: the example ids, in order, and the answers.
        self._example_ids = np.zeros(0, np.int64)
        self._answers = np.zeros(0, np.int32)

    def of(self, rows: Dataset) -> NDArray[np.int32]:
        """For each row, embedded by the version's backbone, its most likely class: an index of the
        version's own classes."""
        found_N = np.full(len(rows), -1, np.int32)
        if len(self._example_ids):
            at_N = np.searchsorted(self._example_ids, rows.example_id_N)
            at_N = np.minimum(at_N, len(self._example_ids) - 1)
            known_N = self._example_ids[at_N] == rows.example_id_N
            found_N[known_N] = self._answers[at_N[known_N]]
        new_N = found_N < 0
        if new_N.any():
            logits_NK, _ = self.servable.score(rows.x_ND[new_N])
            found_N[new_N] = logits_NK.argmax(axis=1)
        order_N = np.argsort(rows.example_id_N)
        self._example_ids, self._answers = rows.example_id_N[order_N], found_N[order_N]
        return found_N


@dataclass(frozen=True, slots=True, eq=False)
class ChampionModel:
    """A version that answered before. `seen` reads the labels that it was trained on."""

    answers: CachedPredictions
    seen: Callable[[], Sequence[CurrentLabel]]

    @property
    def servable(self) -> Servable:
        return self.answers.servable

    @property
    def classes(self) -> tuple[str, ...]:
        return self.servable.manifest.classes

    @property
    def is_starter(self) -> bool:
        return self.servable.manifest.snapshot == 0


def load_champions(
    store: Store, runtime: Runtime, loaded: dict[int, CachedPredictions]
) -> tuple[ChampionModel, list[CachedPredictions]]:
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

    def load_once(version: Version) -> CachedPredictions:
        if version.number not in loaded:
            loaded[version.number] = CachedPredictions(_load(store, runtime, version))
        return loaded[version.number]

    # Of another backbone, they would keep that loaded as well.
    sharing = [version for version in before if version.backbone == live.backbone]
    for number in loaded.keys() - {version.number for version in (live, *sharing)}:
        del loaded[number]
    champion = load_once(live)
    earlier = []
    for version in sharing:
        try:
            earlier.append(load_once(version))
        except EvergreenError as error:
            log.warning("version.load_failed", extra={"version": version.number, "error": error})
    return ChampionModel(champion, seen), earlier


def _load(store: Store, runtime: Runtime, version: Version) -> Servable:
    return load(versions.read_manifest(version, store.blobs), store.blobs, runtime)
