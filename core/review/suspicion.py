"""Which labels are suspected to be wrong: the model that has not seen an example doubts its label.

A label that a person confirmed by giving it once more is not suspected again.

Suffix: N the examples of an analysis.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, exists, select

from core.class_names import NONE_OF_THESE, is_same
from core.review.analysis import Analysis
from core.review.items import ExampleItem
from core.store.schema import labels
from core.store.tables.review import label_batches

# The probability of the given label, below which another class is more likely than it.
SUSPECTED_BELOW = 0.5
# Batches of labels that changed classes, for which nobody looked at the images.
_CLASS_CHANGES = ("rename", "merge", "delete")
_retraction = labels.alias("retraction")


def may_be_suspected_N(analysis: Analysis) -> NDArray[np.bool_]:
    """Whether the label of the snapshot is doubted. `suspected` says whether it still is."""
    is_class = np.array([name != NONE_OF_THESE for name in analysis.names], np.bool_)
    is_doubted_N = analysis.label_probability_N < SUSPECTED_BELOW  # False for NaN
    differs_N = (analysis.predicted_N >= 0) & (analysis.predicted_N != analysis.label_N)
    maybe_N: NDArray[np.bool_] = is_doubted_N & differs_N & is_class[analysis.label_N]
    return maybe_N


def suspected(conn: Connection, items: Sequence[ExampleItem]) -> set[int]:
    """The ids of those whose label is doubted, and was not confirmed."""
    doubted = [item.id for item in items if _is_doubted(item)]
    return set(doubted) - confirmed(conn, doubted)


def confirmed(conn: Connection, ids: Collection[int]) -> set[int]:
    """The examples among a few whose last two labels are the same, and a person gave the newer."""
    if not ids:
        return set()
    is_retracted = exists().where(_retraction.c.retracts == labels.c.id)
    query = (
        select(labels.c.example_id, labels.c.label, label_batches.c.kind)
        .outerjoin(label_batches, label_batches.c.id == labels.c.batch_id)
        .where(labels.c.example_id.in_(ids), labels.c.label.is_not(None), ~is_retracted)
        .order_by(labels.c.example_id, labels.c.id.desc())
    )
    # Newest first, from the newest that a person gave on.
    given: dict[int, list[str]] = {}
    for example_id, label, kind in conn.execute(query):
        if example_id in given or kind not in _CLASS_CHANGES:
            given.setdefault(example_id, []).append(label)
    return {key for key, names in given.items() if names[:1] == names[1:2]}


def _is_doubted(item: ExampleItem) -> bool:
    return (
        item.label is not None
        and item.label != NONE_OF_THESE
        and item.label_probability is not None
        and item.label_probability < SUSPECTED_BELOW
        and item.predicted is not None
        and not is_same(item.predicted, item.label)
    )
