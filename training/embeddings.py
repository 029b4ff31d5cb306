"""Embeddings of examples: computed once for each backbone, from the same arrays as in serving.

Suffixes: B batch, D embedding.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from core.errors import UNUSABLE_IMAGE
from core.inputs import kinds
from core.inputs.kind import InputSpec, Limits
from core.labelling import embeddings
from core.labelling.labels import CurrentLabel
from core.models.backbones import Backbone
from core.store import lost_blobs
from core.store.store import Store
from core.system.background import call_back, run_idle

_BATCH = 16
# With more, a run takes long enough that reading them again does not matter.
_MAX_CACHED_BYTES = 128 * 2**20

Vector = NDArray[np.float16]
_Embedded = tuple[int, NDArray[np.float32]]


@dataclass(slots=True)
class _Batch:
    """What came of a batch: the vectors by example id, and how images are lost, by digest."""

    embedded: list[_Embedded]
    lost: dict[str, str] = field(default_factory=dict)


log = logging.getLogger(__name__)


class EmbeddingCache:
    """Embeddings that a run of this process has read, so that the next run reads only new ones.

    It holds those of one backbone, by the image's digest, and none if they exceed `max_bytes`.
    """

    def __init__(self, max_bytes: int = _MAX_CACHED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._backbone = ""
        self._by_image: dict[str, Vector] = {}

    def get(self, backbone: str, rows: Sequence[CurrentLabel]) -> dict[int, Vector]:
        """Return the cached embeddings of these rows, by example id."""
        if backbone != self._backbone:
            return {}
        known = self._by_image
        return {row.example_id: known[row.image] for row in rows if row.image in known}

    def replace(
        self, backbone: str, rows: Sequence[CurrentLabel], vectors: dict[int, Vector]
    ) -> None:
        """Keep exactly these, so that nothing of an erased example stays."""
        before, self._backbone, self._by_image = self._by_image, backbone, {}
        if sum(vector.nbytes for vector in vectors.values()) > self._max_bytes:
            return
        kept = {row.image: vectors[row.example_id] for row in rows if row.example_id in vectors}
        if not before.keys() <= kept.keys():
            # They may be rows of one array with what was erased.
            kept = {image: vector.copy() for image, vector in kept.items()}
        self._by_image = kept


def embed(
    store: Store,
    backbone: Backbone,
    spec: InputSpec,
    rows: Sequence[CurrentLabel],
    limits: Limits,
    progress: Callable[[float], None] = lambda fraction: None,
    cache: EmbeddingCache | None = None,
) -> dict[int, Vector]:
    """Return the embedding of each example [D], by example id. Computes and stores missing ones.

    `progress` gets the share that is done, 0 to 1. An example is left out and logged if its image
    is missing, damaged, or over a limit that was lowered. A lost image is recorded as lost, and no
    longer once it can be read.
    """
    vectors = {} if cache is None else cache.get(backbone.digest, rows)
    uncached = [row.example_id for row in rows if row.example_id not in vectors]
    with store.db.read() as conn:
        vectors.update(embeddings.get(conn, backbone.digest, uncached))
        were_lost = lost_blobs.read(conn).keys()
    missing = [row for row in rows if row.example_id not in vectors]
    for start in range(0, len(missing), _BATCH):
        batch = missing[start : start + _BATCH]
        result = run_idle(partial(_embed_batch, store, backbone, spec, batch, limits))
        fresh = result.embedded
        found = were_lost & {row.image for row in batch} - result.lost.keys()
        call_back(partial(_put, store, backbone, result, found))
        # float16 as in the store, so that a head doesn't depend on where vectors come from.
        vectors.update((example_id, vector.astype(np.float16)) for example_id, vector in fresh)
        progress((start + len(batch)) / len(missing))
    if cache is not None:
        cache.replace(backbone.digest, rows, vectors)
    return vectors


def _put(store: Store, backbone: Backbone, batch: _Batch, found: set[str]) -> None:
    with store.db.write(durable=False) as conn:
        embeddings.put(conn, backbone.digest, batch.embedded)
        lost_blobs.record(conn, batch.lost, store.db.clock())
        lost_blobs.clear(conn, found)


def _embed_batch(
    store: Store,
    backbone: Backbone,
    spec: InputSpec,
    batch: Sequence[CurrentLabel],
    limits: Limits,
) -> _Batch:
    reader = backbone.reader(spec)
    decoded = []
    result = _Batch([])
    for row in batch:
        try:
            content = store.blobs.get(row.image)
            decoded.append((row.example_id, reader.decode(content, limits).array))
        except UNUSABLE_IMAGE as error:
            log.warning("example.left_out", extra={"example": row.example_id, "error": str(error)})
            problem = lost_blobs.problem_of(error)
            if problem is not None:
                result.lost[row.image] = problem
    if decoded:
        arrays = [array[np.newaxis] for _, array in decoded]
        vectors_BD = backbone.embed(kinds.of_spec(spec).join(arrays))
        result.embedded = [(row_id, vectors_BD[i]) for i, (row_id, _) in enumerate(decoded)]
    return result
