"""Embeddings of examples: computed once for each backbone, from the same pixels as in serving."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.inputs import pixels
from core.inputs.pixels import Limits, PixelSpec
from core.labelling import embeddings
from core.labelling.labels import CurrentLabel
from core.models.backbones import Backbone
from core.store.store import Store
from core.system.background import call_back, run_idle

_BATCH = 16
_MAX_KEPT_BYTES = 256 * 2**20

Vector = NDArray[np.float16]
_Embedded = tuple[int, NDArray[np.float32]]

log = logging.getLogger(__name__)


class EmbeddingCache:
    """The embeddings that a run of this process has read, so that the next one reads only what is
    new: of the backbone asked for last, by the image's digest, and as long as they are not many."""

    def __init__(self, max_bytes: int = _MAX_KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._backbone = ""
        self._by_image: dict[str, Vector] = {}

    def of(self, backbone: str, rows: Sequence[CurrentLabel]) -> dict[int, Vector]:
        """By example id, of those rows that are known."""
        if backbone != self._backbone:
            return {}
        known = self._by_image
        return {row.example_id: known[row.image] for row in rows if row.image in known}

    def keep(self, backbone: str, rows: Sequence[CurrentLabel], vectors: dict[int, Vector]) -> None:
        """These and no others: what was erased is not to stay."""
        self._backbone, self._by_image = backbone, {}
        if sum(vector.nbytes for vector in vectors.values()) <= self._max_bytes:
            self._by_image = {
                row.image: vectors[row.example_id] for row in rows if row.example_id in vectors
            }


def embed(
    store: Store,
    backbone: Backbone,
    spec: PixelSpec,
    rows: Sequence[CurrentLabel],
    limits: Limits,
    progress: Callable[[float], None] = lambda fraction: None,
    kept: EmbeddingCache | None = None,
) -> dict[int, Vector]:
    """The embedding of each example [D], from the cache where it is there, by example id.

    An example that can't be decoded any more (a limit was lowered) is left out and logged.
    """
    found = {} if kept is None else kept.of(backbone.digest, rows)
    unknown = [row.example_id for row in rows if row.example_id not in found]
    with store.db.read() as conn:
        found.update(embeddings.get(conn, backbone.digest, unknown))
    missing = [row for row in rows if row.example_id not in found]
    for start in range(0, len(missing), _BATCH):
        batch = missing[start : start + _BATCH]
        fresh = run_idle(partial(_embed_batch, store, backbone, spec, batch, limits))
        call_back(partial(_put, store, backbone, fresh))
        # What comes out of the cache later is float16; so that nothing depends on when it did.
        found.update((example_id, vector.astype(np.float16)) for example_id, vector in fresh)
        progress((start + len(batch)) / len(missing))
    if kept is not None:
        kept.keep(backbone.digest, rows, found)
    return found


def _put(store: Store, backbone: Backbone, fresh: Sequence[_Embedded]) -> None:
    with store.db.write(durable=False) as conn:
        embeddings.put(conn, backbone.digest, fresh)


def _embed_batch(
    store: Store,
    backbone: Backbone,
    spec: PixelSpec,
    batch: Sequence[CurrentLabel],
    limits: Limits,
) -> list[_Embedded]:
    decoded = []
    for row in batch:
        try:
            decoded.append(
                (row.example_id, pixels.decode(store.blobs.get(row.image), spec, limits))
            )
        except InputError as error:
            log.warning("example.left_out", extra={"example": row.example_id, "error": str(error)})
    if not decoded:
        return []
    vectors_BD = backbone.embed(np.stack([pixels_HWC for _, pixels_HWC in decoded]))
    return [(row_id, vectors_BD[i]) for i, (row_id, _) in enumerate(decoded)]
