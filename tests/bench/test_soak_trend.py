"""The verdict of `bench.soak`: what levels off, and what does not."""

from __future__ import annotations

import numpy as np
import pytest

from bench.soak.samples import trend

MINUTES = [0.5 * (i + 1) for i in range(20)]
NOISE = np.random.default_rng(0).normal(0, 1, 20)


@pytest.mark.parametrize(
    ("values", "levels_off"),
    [
        (np.full(20, 12.0), True),
        (200 + NOISE, True),
        (np.minimum(100 + 20 * np.arange(20), 250) + NOISE, True),
        (200 + 0.5 * np.arange(20) + 0.1 * NOISE, False),
        (np.repeat([8.0, 12.0, 16.0, 20.0], 5), False),
        (200 + 1e-3 * np.arange(20), True),
    ],
    ids=["constant", "noise", "after a rise", "growing", "in steps", "hardly growing"],
)
def test_verdict_on_a_figure(values: np.ndarray, levels_off: bool) -> None:
    assert trend(MINUTES, list(values)).levels_off == levels_off


def test_few_samples_have_no_trend() -> None:
    with pytest.raises(ValueError, match="run for longer"):
        trend(MINUTES[:4], [1.0] * 4)
