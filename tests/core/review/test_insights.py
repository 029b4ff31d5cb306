"""The map and the learning curve of the newest analysis."""

from __future__ import annotations

import numpy as np
import pytest

from core.review import insights
from core.review.analysis import Analysis
from core.store.store import Store
from tests.core.labelled_store import IMAGE, OTHER, LabelRequest, label
from tests.core.review.test_analysis import make_analysis


def analysis_of(num_rows: int) -> Analysis:
    numbers = np.arange(num_rows)
    return Analysis(
        names=("cat", "dog"),
        example_id_N=numbers + 1,
        label_N=(numbers % 2).astype(np.int32),
        predicted_N=np.zeros(num_rows, np.int32),
        label_probability_N=np.ones(num_rows, np.float16),
        similarity_N=np.ones(num_rows, np.float16),
        is_unfamiliar_N=np.zeros(num_rows, np.bool_),
        point_M=numbers.astype(np.int32),
        position_M2=np.stack([numbers / num_rows] * 2, axis=1).astype(np.float16),
        is_held_out_N=numbers % 5 == 0,
    )


def test_map_has_the_columns_of_its_points() -> None:
    found = insights.example_map(analysis_of(10), 100)
    assert found.ids == list(range(1, 11))
    assert found.labels == [0, 1] * 5
    assert found.x[3] == found.y[3] == pytest.approx(0.3, abs=1e-3)
    assert found.held_out == [i % 5 == 0 for i in range(10)]


@pytest.mark.parametrize(("limit", "ids"), [(1, [1]), (3, [1, 5, 10]), (10, list(range(1, 11)))])
def test_map_is_sampled_evenly(limit: int, ids: list[int]) -> None:
    assert insights.example_map(analysis_of(10), limit).ids == ids


def test_map_of_an_analysis_without_hold_outs_has_none() -> None:
    found = insights.example_map(make_analysis(), 10)
    assert (found.ids, found.predicted, found.held_out) == ([7], [-1], [False])


def test_curve_says_what_is_missing(store: Store) -> None:
    with store.db.read() as conn:
        curve = insights.learning_curve(conn)
    assert (curve["verdict"], curve["points"]) == ("too early", [])
    assert "nothing is labelled yet" in curve["text"]
    label(store, LabelRequest("cat"), IMAGE)
    label(store, LabelRequest("dog"), OTHER)
    with store.db.read() as conn:
        assert "too few labels" in insights.learning_curve(conn)["text"]
