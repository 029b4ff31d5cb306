"""What is analysed: the newest version, and the examples that were labelled at its snapshot.

Suffixes: N examples, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from core import erased
from core.class_names import is_class
from core.errors import NotEnoughLabels
from core.labelling import embeddings, labels
from core.labelling.labels import CurrentLabel
from core.models.backbones import Runtime
from core.models.manifest import Manifest
from core.models.references import References
from core.models.servable import HeadSession
from core.registry import versions
from core.registry.versions import Version
from core.review import analyses
from core.review.analyses import AnalysisRow
from core.store.store import Store
from training.dataset import Dataset, assemble, trainable_classes
from training.head.fit import Penalty

_PAGE = 20


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    manifest: Manifest
    head: HeadSession
    references: References | None
    # Those with an embedding, by ascending id.
    rows: tuple[CurrentLabel, ...]
    x_ND: NDArray[np.float16]
    group_N: NDArray[np.str_]
    # None: too few of them are left to train on.
    dataset: Dataset | None
    # None: to be chosen again.
    penalty: Penalty | None
    # That of the version before.
    earlier: AnalysisRow | None
    # The newest erasure when the labels were read; 0: there was none.
    last_erasure: int

    @property
    def snapshot(self) -> int:
        return self.manifest.snapshot

    @property
    def is_backbone_tuned(self) -> bool:
        return self.manifest.backbone_snapshot > 0


def find_version(conn: Connection) -> Version | None:
    """Return the newest kept version, if it is not analysed yet. The starter never is."""
    before: int | None = None
    while page := versions.listing(conn, limit=_PAGE, before=before):
        for version in page:
            if version.retired_at is None and version.snapshot > 0:
                newest = analyses.newest(conn)
                is_done = newest is not None and newest.version >= version.number
                return None if is_done else version
        before = page[-1].number
    return None


def read_subject(store: Store) -> Subject | None:
    """None: there is nothing to analyse. Raises NotEnoughLabels, ArtifactError, StoreError."""
    with store.db.read() as conn:
        version = find_version(conn)
        if version is None:
            return None
        current = labels.current(conn, version.snapshot)
        vectors = embeddings.get(conn, version.backbone, [row.example_id for row in current])
        saw_erased = erased.saw_erased(conn, version.snapshot)
        earlier = analyses.newest(conn)
        last_erasure = erased.newest_id(conn)
    rows = tuple(row for row in current if row.example_id in vectors)
    if not rows:
        raise NotEnoughLabels(
            f"version {version.number} cannot be analysed: none of its examples has an embedding "
            "any more; label more, and train again"
        )
    manifest = versions.read_manifest(version, store)
    fields = None if saw_erased else manifest.recipe.get("penalty")
    references = None
    if manifest.references is not None:
        content = store.blobs.get(manifest.references, keep=True)
        references = References.from_bytes(content, manifest.embedding_size)
    with store.blobs.file(manifest.head) as path:
        head = HeadSession(path, Runtime("cpu"))
    return Subject(
        manifest,
        head,
        references,
        rows,
        np.stack([vectors[row.example_id] for row in rows]),
        np.array([row.group_id for row in rows]),
        _dataset(rows, vectors),
        Penalty(**fields) if fields else None,
        earlier,
        last_erasure,
    )


def _dataset(
    rows: tuple[CurrentLabel, ...], vectors: dict[int, NDArray[np.float16]]
) -> Dataset | None:
    known = [row for row in rows if is_class(row.label)]
    try:
        return assemble(known, vectors, trainable_classes(known, ()))
    except NotEnoughLabels:  # some were erased since
        return None
