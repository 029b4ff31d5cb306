"""What a challenger is compared with: the champion, and the champions before it.

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
from core.models.manifest import Manifest
from core.models.servable import Servable, likeliest, load
from core.registry import activations, versions
from core.registry.versions import Version
from core.store.store import Store
from training.dataset import Dataset
from training.head.chunks import in_float32

log = logging.getLogger(__name__)


class CachedPredictions:
    """The predictions of a version for the rows that were asked for last.

    Neither the version nor an embedding ever changes, so only new rows are scored.
    """

    def __init__(self, servable: Servable) -> None:
        self.servable = servable
        # Sorted, with the prediction of each.
        self._example_ids = np.zeros(0, np.int64)
        self._predictions = np.zeros(0, np.int32)

    def predict(self, rows: Dataset) -> NDArray[np.int32]:
        """Return the most likely class of each row [N]: an index of the version's own classes.
        -1: it has none.

        The rows must be embedded by the version's backbone.
        """
        predicted_N = np.full(len(rows), -1, np.int32)
        if len(self._example_ids):
            at_N = np.searchsorted(self._example_ids, rows.example_id_N)
            at_N = np.minimum(at_N, len(self._example_ids) - 1)
            known_N = self._example_ids[at_N] == rows.example_id_N
            predicted_N[known_N] = self._predictions[at_N[known_N]]
        new_N = predicted_N < 0
        if new_N.any():
            predicted_N[new_N] = in_float32(
                rows.x_ND[new_N], lambda x_BD: likeliest(self.servable.score(x_BD)[0])
            )
        order_N = np.argsort(rows.example_id_N)
        self._example_ids, self._predictions = rows.example_id_N[order_N], predicted_N[order_N]
        return predicted_N


@dataclass(frozen=True, slots=True, eq=False)
class ChampionModel:
    """The champion. `trained_on` reads the labels of its snapshot."""

    predictions: CachedPredictions
    trained_on: Callable[[], Sequence[CurrentLabel]]

    @property
    def servable(self) -> Servable:
        return self.predictions.servable

    @property
    def manifest(self) -> Manifest:
        return self.servable.manifest

    @property
    def is_starter(self) -> bool:
        return self.manifest.snapshot == 0


@dataclass(frozen=True, slots=True, eq=False)
class Champions:
    current: ChampionModel
    # Champions before it on the same backbone, newest first.
    earlier: Sequence[CachedPredictions]


def load_champions(
    store: Store, runtime: Runtime, loaded: dict[int, CachedPredictions]
) -> Champions:
    """Load the champion, and earlier champions on its backbone as far as they can be loaded.

    `loaded` is a cache by version number, and holds exactly these afterwards.
    """
    with store.db.read() as conn:
        rows = [versions.get(conn, number) for number in activations.recent_champions(conn)]
    live, *before = rows

    def trained_on() -> list[CurrentLabel]:
        with store.db.read() as conn:
            return labels.current(conn, live.snapshot)

    def load_once(version: Version) -> CachedPredictions:
        if version.number not in loaded:
            loaded[version.number] = CachedPredictions(_load(store, runtime, version))
        return loaded[version.number]

    # Versions on another backbone would keep that backbone in memory as well.
    sharing = [
        version
        for version in before
        if version.backbone == live.backbone and version.retired_at is None
    ]
    for number in loaded.keys() - {version.number for version in (live, *sharing)}:
        del loaded[number]
    champion = load_once(live)
    earlier = []
    for version in sharing:
        try:
            earlier.append(load_once(version))
        except EvergreenError as error:
            log.warning("version.load_failed", extra={"version": version.number, "error": error})
    return Champions(ChampionModel(champion, trained_on), earlier)


def _load(store: Store, runtime: Runtime, version: Version) -> Servable:
    manifest = versions.read_manifest(version, store)
    # It judges labels only, and keeps many of them loaded.
    return load(manifest, store.blobs, runtime, with_references=False)
