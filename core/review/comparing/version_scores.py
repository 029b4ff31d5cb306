"""What a version predicts on the newest held-out examples, from embeddings that are stored.

The head alone is loaded. No version was trained on any of these examples.

Suffixes: N held-out examples, B of a chunk, D embedding, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from core.class_names import NONE_OF_THESE, identity, is_same
from core.errors import BlobMissing, NoClasses
from core.labelling import embeddings, labels
from core.models.backbones import Runtime
from core.models.manifest import Manifest
from core.models.servable import HeadSession, load_head
from core.registry import versions
from core.registry.versions import Version
from core.store.store import Store
from core.store.tables.tallies import current_labels

#: The newest ones. More would not make an interval narrower than a point.
MAX_EXAMPLES = 20_000
# So many embeddings are in memory.
_CHUNK = 1_000

# By example id; those that it cannot get are left out.
Vectors = Mapping[int, NDArray[np.float16]]
# The embeddings of examples by the backbone of this manifest.
GetVectors = Callable[[Manifest, Sequence[int]], Vectors]


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Held-out examples that have a class, newest first."""

    # What `label_N` indexes.
    names: tuple[str, ...]
    example_id_N: NDArray[np.int64]
    label_N: NDArray[np.int32]
    # The newest label event of that moment.
    newest_label: int

    def __len__(self) -> int:
        return len(self.example_id_N)


@dataclass(frozen=True, slots=True, eq=False)
class VersionScores:
    version: int
    classes: tuple[str, ...]
    # How its accuracy was measured after its run; None: it was not.
    judged_by: str | None
    # Of `classes`; -1: the embedding is not stored.
    predicted_N: NDArray[np.int32]
    # 0 to 1; 0 where the version does not know the class, or the embedding is not stored.
    label_probability_N: NDArray[np.float32]

    @property
    def is_complete(self) -> bool:
        return bool(np.all(self.predicted_N >= 0))


def read_held_out(conn: Connection, limit: int = MAX_EXAMPLES) -> HeldOut:
    columns = current_labels.c
    query = (
        select(columns.example_id, columns.label)
        .where(columns.is_held_out, columns.label != NONE_OF_THESE)
        .order_by(columns.example_id.desc())
        .limit(limit)
    )
    rows = [tuple(row) for row in conn.execute(query)]
    # An older release may have stored another spelling.
    no_class = {label for _, label in rows if is_same(label, NONE_OF_THESE)}
    rows = [row for row in rows if row[1] not in no_class]
    names = sorted({label for _, label in rows})
    places = {name: k for k, name in enumerate(names)}
    return HeldOut(
        tuple(names),
        np.array([example_id for example_id, _ in rows], np.int64),
        np.array([places[label] for _, label in rows], np.int32),
        labels.newest_id(conn),
    )


def score(
    store: Store,
    number: int,
    held_out: HeldOut,
    runtime: Runtime,
    get_vectors: GetVectors | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> VersionScores:
    """Predict with a version. `progress` gets the share that is done, 0 to 1.

    Without `get_vectors`, only stored embeddings are used. A retired version is scored as long as
    its head is there. Raises UnknownVersion, VersionRetired, NoClasses, ArtifactError,
    StoreError.
    """
    with store.db.read() as conn:
        version = versions.get(conn, number)
    manifest, head = _open(version, store, runtime)
    if not manifest.classes:
        raise NoClasses(
            f"version {number} was made before anything was labelled and knows 0 classes: compare "
            "versions that predict"
        )
    get_vectors = get_vectors or stored_vectors(store)
    place_of = {identity(name): k for k, name in enumerate(manifest.classes)}
    class_K = np.array([place_of.get(identity(name), -1) for name in held_out.names], np.int32)
    predicted_N = np.full(len(held_out), -1, np.int32)
    probability_N = np.zeros(len(held_out), np.float32)
    for start in range(0, len(held_out), _CHUNK):
        ids = held_out.example_id_N[start : start + _CHUNK].tolist()
        vectors = get_vectors(manifest, ids)
        places = [k for k, example_id in enumerate(ids) if example_id in vectors]
        progress((start + len(ids)) / len(held_out))
        if not places:
            continue
        x_BD = np.stack([vectors[ids[k]] for k in places]).astype(np.float32)
        logits_BK, probabilities_BK = head.score(x_BD)
        rows_B = start + np.array(places)
        predicted_N[rows_B] = logits_BK.argmax(axis=1)
        class_B = class_K[held_out.label_N[rows_B]]
        is_known_B = class_B >= 0
        probability_N[rows_B[is_known_B]] = probabilities_BK[is_known_B, class_B[is_known_B]]
    judged_by = version.metrics.get("judged_by")
    return VersionScores(number, manifest.classes, judged_by, predicted_N, probability_N)


def stored_vectors(store: Store) -> GetVectors:
    def get(manifest: Manifest, ids: Sequence[int]) -> Vectors:
        with store.db.read() as conn:
            return embeddings.get(conn, manifest.backbone, ids)

    return get


def _open(version: Version, store: Store, runtime: Runtime) -> tuple[Manifest, HeadSession]:
    try:
        manifest = versions.read_manifest(replace(version, retired_at=None), store)
        return manifest, load_head(manifest, store.blobs, runtime)
    except BlobMissing:
        versions.check_kept(version)
        raise
