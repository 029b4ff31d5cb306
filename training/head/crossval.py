"""Cross-validation over embeddings, which evaluates heads while held-out examples are few.

It owns folds, out-of-fold logits and the choice of `l2`. It does not own the fit
(`training/head/regression.py`) or the decision that follows (the gate).

Suffixes: N rows, M scorable rows, K classes, G near-duplicate groups, F folds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from training.head.calibration import choose_temperature, label_probability
from training.head.design_matrix import Coefficients, Design
from training.head.head import Floats, Integers, is_scorable
from training.head.regression import fit

L2_GRID = tuple(8.0 * 0.5**step for step in range(14))
"""From 8 to 0.001. Factors of five instead of two cost a point of accuracy on photos of flowers."""

_MIN_GAIN = 0.3
"""Standard errors by which a weaker penalty must lower the loss."""

_MAX_ROWS = 1_000
"""Enough rows to choose `l2`, because the loss is flat around its minimum."""

_MAX_LOGITS = 50_000
"""Above this many logits per fit, every second `l2` is tried."""

_MAX_FOLDS = 3
_FEW_ROWS = 400
"""Three folds choose `l2`, because every `l2` is scored on the same rows. With fewer rows than this
all folds do: with 20 photos a class, three folds of five cost a third of a point."""

_TOLERANCE_TO_CHOOSE = 1e-3
"""Comparing values of `l2` takes a tenth of the precision of a published fit."""


def num_folds_of(groups_N: NDArray[Any], y_N: Integers, most: int) -> int:
    """Return as many folds as the smallest class has groups, from 2 to `most`.

    With more, a fit that holds out one of its two examples has seen half of that class and most of
    the others. It then prefers the others, so a head looks worse than it is.
    """
    pairs = set(zip(y_N.tolist(), groups_N.tolist(), strict=True))
    groups_K = np.bincount(np.array([label for label, _ in pairs], np.intp))
    return int(np.clip(groups_K[groups_K > 0].min(initial=most), 2, most))


def assign_folds(
    groups_N: NDArray[Any], y_N: Integers, num_folds: int, seed: int = 0
) -> NDArray[np.intp]:
    """Return fold_N: near-duplicate groups stay whole, classes are spread evenly.

    A class with fewer groups than folds lies in as many folds as it has groups. A class with one
    group is always scored by a fit that has not seen the class. Groups (any sortable dtype) with
    several labels count as the most frequent one. If there is one group in all, every row is in
    fold 0.
    """
    if len(y_N) == 0:
        return np.zeros(0, np.intp)
    # Element by element, lists and dicts are several times as fast as arrays.
    names = groups_N.tolist()
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    group_N = np.array([numbers[name] for name in names], np.intp)
    num_groups, num_classes = len(numbers), int(y_N.max()) + 1
    counts_GK = np.zeros((num_groups, num_classes), np.intp)
    np.add.at(counts_GK, (group_N, y_N), 1)
    class_G, size_G = counts_GK.argmax(axis=1), counts_GK.sum(axis=1)
    groups_K = np.bincount(class_G, minlength=num_classes)
    num_folds = min(num_folds, num_groups)
    # Rare classes first, and large groups before small ones, which then even out the folds. The
    # shuffle breaks ties.
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
    """Return logits_NK, where each row is scored by a fit on the other folds.

    With `folds`, only those are scored, and the other rows are NaN.

    Rows outside `train_mask_N` are scored too, but no fit sees them. So a champion is scored on
    all rows as if refitted on the labels of its own snapshot. A class of which a fit has seen no
    row gets `training.head.head.ABSENT_BIAS`.
    """
    logits_NK = np.full((len(y_N), num_classes), np.nan, np.float32)
    for held_N, seen_N in _splits(fold_N, train_mask_N, folds):
        coefficients = fit(
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
        logits_NK[held_N] = design.logits(coefficients, held_N)
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
    """Return the `l2` with the lowest out-of-fold loss, if the share `noise` of labels is wrong.

    The loss is taken at its best temperature, because every head gets one. The search goes from
    strong to weak, and each fit starts at the last one. A weaker penalty must lower the loss by
    0.3 standard errors, because weak penalties are slow to fit and brittle. (One standard error, as
    in Breiman et al. 1984, cost a point of accuracy.) Two failures in a row end the search. If no
    row is scorable, the strongest penalty is returned.

    Of many rows, a stratified sample of about a thousand is used, and the result is scaled down.
    The penalty is a prior worth a fixed number of rows, and the loss is a mean over all rows.
    """
    sampled_N = _stratified(y_N, fold_N, num_rows_to_choose(len(y_N), num_classes))
    num_sampled = int(sampled_N.sum())
    ordered, splits = sorted(grid, reverse=True), _splits(fold_N, sampled_N)
    if num_sampled > _FEW_ROWS:
        splits = splits[:_MAX_FOLDS]
    if num_sampled * num_classes > _MAX_LOGITS:
        ordered = ordered[::2]
    # A start must come from the same fold, or held-out labels would leak.
    starts: list[Coefficients | None] = [None] * len(splits)
    best_l2, num_failures = ordered[0], 0
    best_M: NDArray[np.float64] | None = None
    for l2 in ordered:
        logits, labels = [], []
        for fold, (held_N, seen_N) in enumerate(splits):
            scored_N = held_N & sampled_N
            coefficients = fit(
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
            starts[fold] = coefficients
            logits.append(design.logits(coefficients, scored_N))
            labels.append(y_N[scored_N])
        loss_M = _calibrated_losses(np.concatenate(logits), np.concatenate(labels), noise)
        if best_M is None or _is_clearly_lower(loss_M, best_M):
            best_M, best_l2, num_failures = loss_M, l2, 0
        else:
            num_failures += 1
        if num_failures == 2:
            break
    return best_l2 * num_sampled / max(len(y_N), 1)


def num_rows_to_choose(num_rows: int, num_classes: int) -> int:
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
    """Return the losses of the M scorable rows, at the best temperature."""
    scorable_N = is_scorable(logits_NK, y_N)
    logits_MK, y_M = logits_NK[scorable_N].astype(np.float64), y_N[scorable_N]
    temperature = choose_temperature(logits_MK, y_M, noise=noise)
    log_probs_MK = log_softmax(logits_MK / temperature, axis=1)
    losses_M: NDArray[np.float64] = -log_probs_MK[np.arange(len(y_M)), y_M]
    if noise > 0:
        losses_M = -np.log(label_probability(np.exp(-losses_M), noise, logits_MK.shape[1]))
    return losses_M


def _is_clearly_lower(loss_M: NDArray[np.float64], best_M: NDArray[np.float64]) -> bool:
    gain_M = best_M - loss_M
    return len(gain_M) > 0 and bool(gain_M.mean() > _MIN_GAIN * gain_M.std() / np.sqrt(len(gain_M)))
