"""The learning curve: what more labels would gain, how sure that is, and of which class.

Suffixes: B bootstrap samples, P points, M judged rows, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.review.comparing.paired_tests import wilson
from training.analysis.class_gains import class_gains
from training.analysis.curve_points import Measured
from training.analysis.power_law import PowerLaws, fit_power_laws

Floats = NDArray[np.float64]

WORTH_IT, LEVELLING_OFF, TOO_EARLY = "worth it", "levelling off", "too early"
#: How many times as many labels the forecasts are for.
FACTORS = (2, 4)
# With fewer labels of a class on average, the curve is too steep to be followed.
_MIN_FITTED_OF_CLASS = 8
_MIN_POINTS = 3
_MIN_JUDGED = 20
# A gain of accuracy that is worth as many labels again.
_WORTHWHILE = 0.01
_NUM_SAMPLES = 300
# Other labels would have made another head. Its accuracy varies with so much of the deviation that
# the number of labels would give a share. Of forecasts for twice the labels, 69 of 72 then held
# (48 draws of flowers, 24 of ants and bees; 10 to 100 labels a class).
_SPREAD_OF_DRAWS = 0.4
_TAILS = (0.025, 0.975)


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    laws: PowerLaws
    # The luck of the labels that come, for one more factor of two.
    luck_B: Floats

    def accuracy(self, num_labels: float, now: float) -> tuple[float, Floats]:
        """Return the expected accuracy, and what it may be [B]."""
        error_B = np.clip(self.laws.error(now), 0, 1)
        deviation_B = np.sqrt(error_B * (1 - error_B) / now)
        luck_B = self.luck_B * deviation_B * np.sqrt(np.log2(num_labels / now))
        accuracy_B = 1 - self.laws.error(num_labels)
        return float(accuracy_B[0]), np.minimum(accuracy_B + luck_B, 1.0)[1:]

    def gain(self, num_labels: float, now: float) -> tuple[float, tuple[float, float]]:
        expected, may_be_B = self.accuracy(num_labels, now)
        before_B = 1 - self.laws.error(now)
        return expected - float(before_B[0]), _interval(may_be_B - before_B[1:])


def describe(measured: Measured, classes: tuple[str, ...], num_labels: int) -> dict[str, Any]:
    """Return the curve as JSON. `num_labels` are the labels of all these classes, held out ones
    too: that is what is counted everywhere."""
    num_fitted_P = np.array([point.num_fitted for point in measured.points])
    forecasts = _forecast(measured, num_fitted_P)
    # The largest head was fitted on less than all labels.
    share = _share_fitted(measured, num_fitted_P, num_labels)
    now = num_labels * share
    curve: dict[str, Any] = {
        "judged_by": measured.judged_by,
        "points": [
            _point(point.num_fitted / share, point.correct_RM.mean(), len(measured.label_M))
            for point in measured.points
        ],
        "forecast": [],
        "gains": class_gains(measured, forecasts.laws, classes),
    }
    is_judged = len(measured.label_M) >= _MIN_JUDGED and len(measured.points) >= _MIN_POINTS
    enough = _MIN_FITTED_OF_CLASS * len(classes)
    if not is_judged or num_fitted_P.max() < enough:
        more = int(np.ceil(num_labels * (enough / num_fitted_P.max() - 1)))
        many = f"about {max(more, len(classes)):,} " if more > 0 else ""
        text = f"It is too early to say: label {many}more examples, of all classes."
        return curve | {"verdict": TOO_EARLY, "text": text}
    curve["forecast"] = [
        _forecast_point(forecasts, factor * num_labels, factor * now, now, len(measured.label_M))
        for factor in FACTORS
    ]
    gain, between = forecasts.gain(2 * now, now)
    return curve | _verdict(gain, between)


def _forecast(measured: Measured, num_fitted_P: Floats) -> Forecasts:
    """Fit a law to what was measured, and to samples of the judged rows and of the repeats."""
    rng = np.random.default_rng(0)
    num_judged = len(measured.label_M)
    error_BP = np.empty((_NUM_SAMPLES + 1, len(num_fitted_P)))
    for p, point in enumerate(measured.points):
        error_BP[0, p] = 1 - point.correct_RM.mean()
    for b in range(1, _NUM_SAMPLES + 1):
        count_M = np.bincount(rng.integers(0, num_judged, num_judged), minlength=num_judged)
        for p, point in enumerate(measured.points):
            num_repeats = len(point.correct_RM)
            count_R = np.bincount(rng.integers(0, num_repeats, num_repeats), minlength=num_repeats)
            right = count_R @ (point.correct_RM @ count_M)
            error_BP[b, p] = 1 - right / (num_repeats * num_judged)
    luck_B = _SPREAD_OF_DRAWS * rng.standard_normal(_NUM_SAMPLES + 1)
    return Forecasts(fit_power_laws(num_fitted_P, error_BP), luck_B)


def _share_fitted(measured: Measured, num_fitted_P: Floats, num_labels: int) -> float:
    """Of all labels, the share that a run trains on."""
    num_training = num_fitted_P.max()
    if measured.judged_by == "cross-validation":  # the folds that judge are trained on too
        num_training = len(measured.label_M)
    return float(num_training / num_labels)


def _point(num_labels: float, accuracy: float, num_judged: int) -> dict[str, Any]:
    low, high = wilson(round(accuracy * num_judged), num_judged)
    return {
        "labels": round(num_labels),
        "accuracy": round(float(accuracy), 4),
        "interval": [round(low, 4), round(high, 4)],
    }


def _forecast_point(
    forecasts: Forecasts, num_labels: int, fitted: float, now: float, num_judged: int
) -> dict[str, Any]:
    expected, may_be_B = forecasts.accuracy(fitted, now)
    low, high = _interval(may_be_B)
    # Where no judged row is wrong, all samples are alike.
    low = min(low, wilson(round(expected * num_judged), num_judged)[0])
    return {
        "labels": num_labels,
        "accuracy": round(expected, 4),
        "interval": [round(low, 4), round(max(high, expected), 4)],
    }


def _interval(value_B: Floats) -> tuple[float, float]:
    low, high = np.quantile(value_B, _TAILS)
    return float(low), float(high)


def _verdict(gain: float, between: tuple[float, float]) -> dict[str, Any]:
    low, high = between
    said = f"{_points(gain)} ({100 * low:.1f} to {100 * high:.1f})"
    if gain < _WORTHWHILE:
        verdict = LEVELLING_OFF
        text = f"Accuracy is levelling off: doubling the labels is expected to gain {said}."
    else:
        verdict, text = WORTH_IT, f"Doubling the labels is expected to gain {said}."
    interval = [round(low, 4), round(high, 4)]
    return {"verdict": verdict, "text": text, "gain": round(gain, 4), "gain_interval": interval}


def _points(gain: float) -> str:
    number = f"{100 * gain:.1f}"
    return f"{number} {'point' if number == '1.0' else 'points'}"
