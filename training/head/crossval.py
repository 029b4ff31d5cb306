"""Cross-validation over cached embeddings: the judge while held-out examples are few.

It owns folds, out-of-fold logits and the choice of `l2`. It does not own the fit
(`training/head/regression.py`) or what is concluded from the logits (the gate).

Suffixes: N rows, M rows that can be judged, K classes, G near-duplicate groups, F folds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from training.head.calibration import choose_temperature, of_labels
from training.head.design_matrix import Coefficients, Design
from training.head.head import Floats, Integers, is_scorable
from training.head.regression import fit

L2_GRID = tuple(8.0 * 0.5**step for step in range(14))
"""From 8 to 0.001. Steps of five missed a point of accuracy on photos of flowers."""

_CLEARLY = 0.3
"""Standard errors by which a weaker penalty must be better."""

_MAX_ROWS = 1_000
"""Enough rows to tell one `l2` from another: the loss is flat around its minimum."""

_MAX_LOGITS = 50_000
"""Above this many logits per fit, every second `l2` is tried."""

_MAX_FOLDS = 3
_FEW_ROWS = 400
"""Folds that choose `l2`: it is judged on the same rows throughout, so few folds will do. Of few
rows all are needed: with 20 photos a class, three folds of five cost a third of a point."""

_TOLERANCE_TO_CHOOSE = 1e-3
"""Telling one `l2` from another takes a tenth of the precision of a fit that is published."""

TOLERANCE_TO_JUDGE = 3e-3
"""Precise enough for the logits that calibrate or judge a head, for `out_of_fold`."""

TOLERANCE_OF_LARGE_TO_JUDGE = 5e-3
"""With 16,000 rows that leaves the loss a thousandth above its minimum."""


def assign_folds(
    groups_N: NDArray[Any], y_N: Integers, num_folds: int, seed: int = 0
) -> NDArray[np.intp]:
    """Return fold_N: near-duplicate groups stay whole, classes are spread evenly.

    A class of fewer groups than folds lies in as many folds as it has groups. One with a single
    group cannot be both learnt and judged: it is always predicted by a fit that never saw it.
    Groups (any sortable dtype) with several labels count as their commonest. A single group in
    all puts every row in fold 0.
    """
    if len(y_N) == 0:
        return np.zeros(0, np.intp)
    # One name or number at a time, lists and dicts are several times as fast as arrays: this takes
    # 30 ms of a run on 16,000 rows, and took 100.
    names = groups_N.tolist()
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    group_N = np.array([numbers[name] for name in names], np.intp)
    num_groups, num_classes = len(numbers), int(y_N.max()) + 1
    counts_GK = np.zeros((num_groups, num_classes), np.intp)
    np.add.at(counts_GK, (group_N, y_N), 1)
    class_G, size_G = counts_GK.argmax(axis=1), counts_GK.sum(axis=1)
    groups_K = np.bincount(class_G, minlength=num_classes)
    num_folds = min(num_folds, num_groups)
    # The largest groups first, rare classes before common ones, so that small groups even out
    # what large ones upset; the shuffle breaks ties.
    shuffled_G = np.random.default_rng(seed).permutation(num_groups)
    order_G = np.lexsort((shuffled_G, -size_G, class_G, groups_K[class_G]))
    load_KF = [[0] * num_folds for _ in range(num_classes)]
    load_F = [0] * num_folds
    fold_G = np.zeros(num_groups, np.intp)
    for group, label, size in zip(
        order_G.tolist(), class_G[order_G].tolist(), size_G[order_G].tolist(), strict=True
    ):
        own_F = load_KF[label]
        fold = min(zip(own_F, load_F, range(num_folds), strict=True))[2]
        fold_G[group] = fold
        own_F[fold] += size
        load_F[fold] += size
    fold_N: NDArray[np.intp] = fold_G[group_N]
    return fold_N


def out_of_fold(
    design: Design,
    y_N: Integers,
    fold_N: Integers,
    num_classes: int,
    *,
    l2: float,
    train_mask_N: NDArray[np.bool_] | None = None,
    sample_weights_N: NDArray[np.float64] | None = None,
    balance: float = 0.5,
    folds: Sequence[int] | None = None,
    tolerance: float = 1e-4,
    should_stop: Callable[[], bool] | None = None,
) -> Floats:
    """Return logits_NK, every row scored by a fit that saw neither it nor its fold.

    With `folds`, only those are scored; the other rows are NaN.

    Rows outside `train_mask_N` are scored too, but no fit sees them: so the champion is judged
    on today's rows as if refitted on the labels of its own snapshot. Where a fit has seen no row
    of a class, that class gets `training.head.head.ABSENT_BIAS`.
    """
    logits_NK = np.full((len(y_N), num_classes), np.nan, np.float32)
    for held_N, seen_N in _splits(fold_N, train_mask_N, folds):
        found = fit(
            design,
            y_N,
            num_classes,
            l2=l2,
            rows=seen_N,
            sample_weights_N=sample_weights_N,
            balance=balance,
            tolerance=tolerance,
            should_stop=should_stop,
        )
        logits_NK[held_N] = design.logits(found, held_N)
    return logits_NK


def choose_l2(
    design: Design,
    y_N: Integers,
    fold_N: Integers,
    num_classes: int,
    grid: Sequence[float] = L2_GRID,
    *,
    sample_weights_N: NDArray[np.float64] | None = None,
    noise: float = 0.0,
    balance: float = 0.5,
    should_stop: Callable[[], bool] | None = None,
) -> float:
    """Return the `l2` with the least out-of-fold loss, where the share `noise` of labels is wrong.

    The loss is taken at its best temperature, since every head gets one. From strong to weak,
    each fit starting at the last, a weaker penalty must lower it by part of a standard error: weak
    ones are slow to fit and brittle. (A whole one, as Breiman et al. 1984 ask, cost a point.) Two
    failures in a row end the search; where no row can be judged, the strongest stays. Of many rows,
    a stratified thousand choose; `l2` then shrinks in proportion: the penalty is a prior worth a
    fixed number of rows, whereas the loss is a mean over all of them.
    """
    sampled_N = _stratified(y_N, fold_N, num_that_choose(len(y_N), num_classes))
    num_sampled = int(sampled_N.sum())
    ordered, splits = sorted(grid, reverse=True), _splits(fold_N, sampled_N)
    if num_sampled > _FEW_ROWS:
        splits = splits[:_MAX_FOLDS]
    if num_sampled * num_classes > _MAX_LOGITS:
        ordered = ordered[::2]
    # A start must come from the same fold, or held-out labels would leak.
    starts: list[Coefficients | None] = [None] * len(splits)
    best_l2, num_idle = ordered[0], 0
    best_M: NDArray[np.float64] | None = None
    for l2 in ordered:
        logits, labels = [], []
        for fold, (held_N, seen_N) in enumerate(splits):
            judged_N = held_N & sampled_N
            found = fit(
                design,
                y_N,
                num_classes,
                l2=l2,
                rows=seen_N,
                sample_weights_N=sample_weights_N,
                balance=balance,
                start=starts[fold],
                tolerance=_TOLERANCE_TO_CHOOSE,
                should_stop=should_stop,
            )
            starts[fold] = found
            logits.append(design.logits(found, judged_N))
            labels.append(y_N[judged_N])
        loss_M = _calibrated_losses(np.concatenate(logits), np.concatenate(labels), noise)
        if best_M is None or _is_clearly_less(loss_M, best_M):
            best_M, best_l2, num_idle = loss_M, l2, 0
        else:
            num_idle += 1
        if num_idle == 2:
            break
    return best_l2 * num_sampled / max(len(y_N), 1)


def num_that_choose(num_rows: int, num_classes: int) -> int:
    """Of how many rows the loss is a mean in `choose_l2`: what its `grid` is for."""
    return min(num_rows, max(_MAX_ROWS, 4 * num_classes))


def _splits(
    fold_N: Integers,
    train_mask_N: NDArray[np.bool_] | None,
    folds: Sequence[int] | None = None,
) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Return (held_N, seen_N) for each fold."""
    held = [fold_N == fold for fold in (np.unique(fold_N) if folds is None else folds)]
    return [(h_N, ~h_N if train_mask_N is None else ~h_N & train_mask_N) for h_N in held]


def _stratified(y_N: Integers, fold_N: Integers, limit: int) -> NDArray[np.bool_]:
    """Mark at most `limit` rows, evenly over classes and, within each, over folds."""
    num_rows, num_picks = len(y_N), min(limit, len(y_N))
    sampled_N = np.zeros(num_rows, np.bool_)
    picks = np.arange(num_picks) * num_rows // max(num_picks, 1)
    sampled_N[np.lexsort((fold_N, y_N))[picks]] = True
    return sampled_N


def _calibrated_losses(logits_NK: Floats, y_N: Integers, noise: float) -> NDArray[np.float64]:
    """Return, at the best temperature, the losses of the M rows that can be judged."""
    scorable_N = is_scorable(logits_NK, y_N)
    logits_MK, y_M = logits_NK[scorable_N].astype(np.float64), y_N[scorable_N]
    temperature = choose_temperature(logits_MK, y_M, noise=noise)
    log_probs_MK = log_softmax(logits_MK / temperature, axis=1)
    losses_M: NDArray[np.float64] = -log_probs_MK[np.arange(len(y_M)), y_M]
    if noise > 0:
        losses_M = -np.log(of_labels(np.exp(-losses_M), noise, logits_MK.shape[1]))
    return losses_M


def _is_clearly_less(loss_M: NDArray[np.float64], than_M: NDArray[np.float64]) -> bool:
    gain_M = than_M - loss_M
    return len(gain_M) > 0 and bool(gain_M.mean() > _CLEARLY * gain_M.std() / np.sqrt(len(gain_M)))
