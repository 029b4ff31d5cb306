"""Analyses that say of examples what a test wants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from core.labelling import labels
from core.review import analyses
from core.review.analyses import AnalysisRow
from core.review.analysis import Analysis
from core.review.items import Found
from core.store.store import Store


class Scored(NamedTuple):
    """What an analysis says of an example."""

    predicted: str | None = None
    probability: float = math.nan
    similarity: float = math.nan
    unfamiliar: bool = False


def analyse(store: Store, scored: Mapping[int, Scored], version: int = 1) -> Found:
    """Store an analysis of all that is labelled now. What it says of the others is unknown."""
    with store.db.read() as conn:
        current = labels.current(conn)
        snapshot = labels.newest_id(conn)
    rows = [scored.get(each.example_id, Scored()) for each in current]
    names = sorted({each.label for each in current} | {r.predicted for r in rows if r.predicted})
    place = {name: i for i, name in enumerate(names)}
    analysis = Analysis(
        names=tuple(names),
        example_id_N=np.array([each.example_id for each in current], np.int64),
        label_N=np.array([place[each.label] for each in current], np.int32),
        predicted_N=np.array([place.get(r.predicted or "", -1) for r in rows], np.int32),
        label_probability_N=np.array([r.probability for r in rows], np.float16),
        similarity_N=np.array([r.similarity for r in rows], np.float16),
        is_unfamiliar_N=np.array([r.unfamiliar for r in rows], np.bool_),
        point_M=np.empty(0, np.int32),
        position_M2=np.empty((0, 2), np.float16),
    )
    content = analysis.to_bytes()
    digest = store.blobs.put(content)
    row = AnalysisRow(version, digest, len(content), snapshot, {}, 9.0)
    with store.db.write() as conn:
        analyses.add(conn, row)
    return row, analysis
