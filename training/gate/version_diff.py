"""Compare two versions on the present held-out examples: overall, by class, and which flipped.

Suffixes: N rows, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.class_names import identity, is_class, is_same
from core.inputs.pixels import Limits
from core.labelling import labels
from core.labelling.labels import CurrentLabel
from core.models.backbones import Runtime
from core.models.servable import Servable, load
from core.registry import versions
from core.store.store import Store
from training.embeddings import embed
from training.gate.paired_tests import Comparison, compare
from training.head.chunks import in_float32

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Flip:
    """An example that only one of the two versions got right."""

    example_id: int
    image: str
    label: str
    before: str
    after: str
    is_mended: bool


@dataclass(frozen=True, slots=True)
class Difference:
    overall: Comparison
    by_class: dict[str, Comparison]
    flips: tuple[Flip, ...]


def difference(
    store: Store,
    before: int,
    after: int,
    runtime: Runtime,
    limits: Limits,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Difference:
    """Compare two versions on every held-out example of a class that either knows.

    Neither was trained on any of them. Intervals are at 95 %. `progress` gets 0 to 1.
    Raises UnknownVersion, ArtifactError.
    """
    with store.db.read() as conn:
        pair = [versions.get(conn, number) for number in (before, after)]
        held_out = [row for row in labels.current(conn) if row.is_held_out and is_class(row.label)]
    old, new = (
        load(versions.read_manifest(version, store), store.blobs, runtime) for version in pair
    )
    known = set(map(identity, (*old.manifest.classes, *new.manifest.classes)))
    rows = [row for row in held_out if identity(row.label) in known]
    old_labels = _predict(store, old, rows, limits, lambda f: progress(f / 2))
    new_labels = _predict(store, new, rows, limits, lambda f: progress(0.5 + f / 2))
    rows = [row for row in rows if row.example_id in old_labels and row.example_id in new_labels]
    truth = np.array([row.label for row in rows], dtype=object)
    old_N = np.array([is_same(old_labels[row.example_id], row.label) for row in rows], np.bool_)
    new_N = np.array([is_same(new_labels[row.example_id], row.label) for row in rows], np.bool_)
    by_class = {
        name: compare(old_N[truth == name], new_N[truth == name]) for name in sorted(set(truth))
    }
    flips = tuple(
        Flip(
            row.example_id,
            row.image,
            row.label,
            old_labels[row.example_id],
            new_labels[row.example_id],
            bool(new_N[i]),
        )
        for i, row in enumerate(rows)
        if old_N[i] != new_N[i]
    )
    return Difference(compare(old_N, new_N), by_class, flips)


def _predict(
    store: Store,
    servable: Servable,
    rows: list[CurrentLabel],
    limits: Limits,
    progress: Callable[[float], None],
) -> dict[int, str]:
    """Return the label that the version predicts for each example, by its id."""
    if not rows:
        return {}
    manifest = servable.manifest
    vectors = embed(store, servable.backbone, manifest.pixels, rows, limits, progress)
    x_ND = np.stack(list(vectors.values()))
    predicted_N = in_float32(x_ND, lambda x_BD: servable.score(x_BD)[0].argmax(axis=1))
    return {
        example_id: manifest.classes[k] for example_id, k in zip(vectors, predicted_N, strict=True)
    }
