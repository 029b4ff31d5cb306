"""How the error falls with the number of labels: error = a + b n^-c, with a and b at least 0.

Learning curves of most learners have this shape (Viering & Loog 2022, "The shape of learning
curves: a review"), and so few points allow no more.

Suffixes: B bootstrap samples, P points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_EXPONENTS = np.exp(np.linspace(np.log(0.1), np.log(1.5), 24))
# Four points leave the exponent open. In doubt it is 0.5: on photos of flowers this weight made the
# error of forecasts a third smaller.
_USUAL_EXPONENT = 0.5
_WEIGHT_OF_USUAL = 0.02
_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class PowerLaws:
    """One law for each row of errors."""

    floor_B: Floats
    scale_B: Floats
    exponent_B: Floats
    # At which number of labels the error is floor + scale.
    unit: float

    def error(self, num_labels: float) -> Floats:
        """Return the error with so many labels [B]."""
        fallen_B: Floats = self.scale_B * (num_labels / self.unit) ** -self.exponent_B
        return self.floor_B + fallen_B


def fit_power_laws(num_labels_P: Floats, error_BP: Floats) -> PowerLaws:
    """Fit each row of errors by least squares, for a grid of exponents."""
    unit = float(num_labels_P.max())
    every_B = np.arange(len(error_BP))
    mean_B = error_BP.mean(axis=1)
    fits = []
    for exponent in _EXPONENTS:
        fallen_P = (num_labels_P / unit) ** -exponent
        from_mean_P = fallen_P - fallen_P.mean()
        scale_B = np.maximum(error_BP @ from_mean_P / max(np.square(from_mean_P).sum(), _TINY), 0.0)
        floor_B = mean_B - scale_B * fallen_P.mean()
        is_below_B = floor_B < 0
        through_zero_B = error_BP @ fallen_P / np.square(fallen_P).sum()
        scale_B = np.where(is_below_B, through_zero_B, scale_B)
        floor_B = np.where(is_below_B, 0.0, floor_B)
        missed_BP = error_BP - floor_B[:, None] - scale_B[:, None] * fallen_P
        unusual = _WEIGHT_OF_USUAL * np.log(exponent / _USUAL_EXPONENT) ** 2
        loss_B = np.square(missed_BP).mean(axis=1) + unusual * np.square(mean_B)
        fits.append((loss_B, floor_B, scale_B))
    best_B = np.array([loss_B for loss_B, *_ in fits]).argmin(axis=0)
    floor_B, scale_B = (np.array([fit[i] for fit in fits])[best_B, every_B] for i in (1, 2))
    return PowerLaws(floor_B, scale_B, _EXPONENTS[best_B], unit)
