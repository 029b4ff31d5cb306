"""What the newest analysis says: the map of the examples, and the learning curve.

Suffixes: M points of the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from core.labelling.census import describe_missing, read_census
from core.review import analyses
from core.review.analysis import Analysis

_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class ExampleMap:
    """Columns of equal length, one entry a point. Positions are -1 to 1."""

    ids: list[int]
    x: list[float]
    y: list[float]
    # Indexes `names`.
    labels: list[int]
    # Indexes `names`; -1: not scored.
    predicted: list[int]
    names: tuple[str, ...]
    held_out: list[bool]


def example_map(analysis: Analysis, limit: int) -> ExampleMap:
    """Return at most `limit` points, evenly sampled."""
    picked = _evenly(len(analysis.point_M), limit)
    rows_M = analysis.point_M[picked]
    is_held_out_M = np.zeros(len(rows_M), np.bool_)
    if len(analysis.is_held_out_N):
        is_held_out_M = analysis.is_held_out_N[rows_M]
    position_M2 = analysis.position_M2[picked].astype(np.float64).round(_DECIMALS)
    return ExampleMap(
        analysis.example_id_N[rows_M].tolist(),
        position_M2[:, 0].tolist(),
        position_M2[:, 1].tolist(),
        analysis.label_N[rows_M].tolist(),
        analysis.predicted_N[rows_M].tolist(),
        analysis.names,
        is_held_out_M.tolist(),
    )


def _evenly(num_rows: int, limit: int) -> NDArray[np.intp]:
    return np.linspace(0, max(num_rows - 1, 0), min(num_rows, limit)).astype(np.intp)


def learning_curve(conn: Connection) -> dict[str, Any]:
    """Return the learning curve as JSON. Before the first analysis it has no points, and its text
    says what is missing."""
    row = analyses.newest(conn)
    if row is not None and "learning_curve" in row.summary:
        curve: dict[str, Any] = row.summary["learning_curve"]
        return curve
    census = read_census(conn)
    text = "The newest version is not analysed yet: the trainer does that once it is idle."
    if not census.is_enough:
        text = f"It is too early to say: {describe_missing(census)}."
    return {
        "version": None,
        "computed_at": None,
        "points": [],
        "forecast": [],
        "verdict": "too early",
        "text": text,
        "classes": [],
    }
