"""Which class gains most from more labels.

Suffixes: M judged rows, P points, K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.analysis.curve_points import Measured
from training.analysis.power_law import PowerLaws

# Errors that a class must have made before its own slope counts as much as that of all classes.
_ERRORS_TO_TRUST = 10.0
# Rows by which the error of a class is drawn to that of all.
_ROWS_TO_TRUST = 2.0
# No class falls faster than so many times as fast as all.
_MAX_SPEED = 2.0
# The points whose difference is the slope: a quarter of the labels, and all.
_EARLY, _LAST = -3, -1


def class_gains(measured: Measured, laws: PowerLaws, classes: tuple[str, ...]) -> dict[str, float]:
    """Return by class the accuracy that it would gain if it had as many labels more as a class has
    on average.

    A class gains where its error is high, its labels are few, and its own curve still falls. With
    few judged rows its curve is mostly that of all classes.
    """
    if len(measured.points) < -_EARLY:
        return {}
    num_classes, label_M = len(classes), measured.label_M
    judged_K = np.bincount(label_M, minlength=num_classes)
    early_K, now_K = (_errors(measured, p, judged_K) for p in (_EARLY, _LAST))
    all_early, all_now = (1 - float(measured.points[p].correct_RM.mean()) for p in (_EARLY, _LAST))
    smooth_K = (now_K * judged_K + all_now * _ROWS_TO_TRUST) / (judged_K + _ROWS_TO_TRUST)
    evidence_K = early_K * judged_K
    own_fall_K = 1 - now_K / np.maximum(early_K, 1e-12)
    fall = 1 - all_now / max(all_early, 1e-12)
    speed_K = np.clip(own_fall_K / fall, 0, _MAX_SPEED) if fall > 0 else np.ones(num_classes)
    weight_K = evidence_K / (evidence_K + _ERRORS_TO_TRUST)
    speed_K = weight_K * speed_K + (1 - weight_K)
    # Classes are judged in proportion to their labels.
    growth_K = 1 + judged_K.mean() / np.maximum(judged_K, 1)
    now = measured.points[_LAST].num_fitted
    left_K = np.array([laws.error(now * growth)[0] for growth in growth_K])
    share_K = 1 - left_K / max(laws.error(now)[0], 1e-12)
    gain_K = np.clip(smooth_K * share_K * speed_K, 0, smooth_K)
    return {name: round(float(gain_K[k]), 4) for k, name in enumerate(classes)}


def _errors(measured: Measured, p: int, judged_K: NDArray[np.intp]) -> NDArray[np.float64]:
    wrong_M = 1 - measured.points[p].correct_RM.mean(axis=0)
    summed_K = np.bincount(measured.label_M, wrong_M, minlength=len(judged_K))
    errors_K: NDArray[np.float64] = summed_K / np.maximum(judged_K, 1)
    return errors_K
