"""Directions in a byte for each number."""

from __future__ import annotations

import numpy as np
import pytest

from core.review.directions import from_int8, to_int8


def test_direction_comes_back_with_length_one() -> None:
    x_ND = np.random.default_rng(0).standard_normal((20, 960)).astype(np.float32)
    stored = [to_int8(x_D * 10.0**i) for i, x_D in enumerate(x_ND)]
    back_ND = from_int8([each for each in stored if each is not None])
    assert back_ND.shape == (20, 960)
    cosine_N = np.vecdot(back_ND, x_ND) / np.linalg.norm(x_ND, axis=1)
    assert cosine_N.min() > 0.9998


def test_largest_number_is_127_whatever_its_sign() -> None:
    assert to_int8(np.array([0.5, -2.0], np.float32)) == np.array([32, -127], np.int8).tobytes()


@pytest.mark.parametrize("number", [0.0, np.nan, np.inf, -np.inf])
def test_embedding_without_a_direction_has_none(number: float) -> None:
    assert to_int8(np.full(4, number, np.float32)) is None


def test_no_rows_are_no_vectors() -> None:
    assert len(from_int8([])) == 0
