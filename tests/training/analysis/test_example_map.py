"""The map of the examples."""

from __future__ import annotations

import numpy as np
import pytest

from training.analysis.example_map import Points, lay_out, turn_towards

RNG = np.random.default_rng(0)


def clusters(num_rows: int = 120, size: int = 40) -> tuple[Points, np.ndarray]:
    """Three classes around centres of their own."""
    class_N = np.arange(num_rows) % 3
    centre_KD = 3 * RNG.standard_normal((3, size))
    x_ND = centre_KD[class_N] + RNG.standard_normal((num_rows, size))
    return x_ND.astype(np.float32), class_N


def test_classes_part_on_the_map() -> None:
    x_ND, class_N = clusters()
    position_N2 = lay_out(x_ND, class_N)
    assert position_N2.shape == (120, 2)
    assert np.abs(position_N2).max() == 1
    centre_K2 = np.stack([position_N2[class_N == k].mean(axis=0) for k in range(3)])
    distance_NK = np.linalg.norm(position_N2[:, None] - centre_K2, axis=2)
    assert (distance_NK.argmin(axis=1) == class_N).mean() > 0.95


def test_outlier_does_not_squeeze_the_others() -> None:
    x_ND = RNG.standard_normal((300, 5)).astype(np.float32)
    x_ND[0] = -1000 * x_ND[1]
    assert np.abs(lay_out(x_ND, np.zeros(300, np.intp))).mean() > 0.2


@pytest.mark.parametrize("num_rows", [1, 2, 3])
def test_few_or_equal_examples_have_positions(num_rows: int) -> None:
    x_ND = np.ones((num_rows, 8), np.float16)
    position_N2 = lay_out(x_ND, np.full(num_rows, -1))
    assert np.isfinite(position_N2).all()
    assert np.isfinite(lay_out(np.zeros_like(x_ND), np.zeros(num_rows, np.intp))).all()


def test_map_is_turned_towards_an_earlier_one() -> None:
    before_N2 = RNG.uniform(-1, 1, (50, 2)).astype(np.float32)
    mirrored_N2 = before_N2 @ np.array([[0, 1], [1, 0]], np.float32) * np.float32(-1)
    before_N2[40:] = np.nan
    turned_N2 = turn_towards(mirrored_N2, before_N2)
    assert np.abs(turned_N2[:40] - before_N2[:40]).max() < 0.1
    before_N2[3:] = np.nan
    np.testing.assert_array_equal(turn_towards(mirrored_N2, before_N2), mirrored_N2)
