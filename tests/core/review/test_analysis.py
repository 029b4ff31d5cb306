"""The file of an analysis."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import SpecMismatch
from core.review.analysis import Analysis


def make_analysis() -> Analysis:
    return Analysis(
        names=("cat", "dög <b>"),
        example_id_N=np.array([3, 7], np.int64),
        label_N=np.array([0, 1], np.int32),
        predicted_N=np.array([1, -1], np.int32),
        label_probability_N=np.array([0.25, np.nan], np.float16),
        similarity_N=np.array([0.5, np.nan], np.float16),
        is_unfamiliar_N=np.array([True, False]),
        point_M=np.array([1], np.int32),
        position_M2=np.array([[-1.0, 0.5]], np.float16),
    )


def test_analysis_is_read_as_it_was_written() -> None:
    analysis = make_analysis()
    read = Analysis.from_bytes(analysis.to_bytes())
    assert read.names == analysis.names
    for name in Analysis.__dataclass_fields__.keys() - {"names"}:
        np.testing.assert_array_equal(getattr(read, name), getattr(analysis, name))


@pytest.mark.parametrize("content", [b"", b"x" * 100, make_analysis().to_bytes()[:-3]])
def test_damaged_analysis_is_an_error(content: bytes) -> None:
    with pytest.raises(SpecMismatch, match="analysis"):
        Analysis.from_bytes(content)
