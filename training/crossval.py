"""Cross-validation over cached embeddings: the judge while held-out examples are few.

It owns folds, out-of-fold logits and the choice of `l2`. It does not own the fit
(`training/head.py`) or what is concluded from the logits (the gate).

Suffixes: N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from training.head import Coefficients, Design, Floats, Integers, fit, is_scorable

L2_GRID = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)

_MAX_ROWS = 1_000
"""Enough rows to tell one `l2` from another: the loss is flat around its minimum."""

_MAX_LOGITS = 50_000
"""Above this many logits per fit, every second `l2` is tried."""

_TOLERANCE = 1e-4
"""Judging needs less precision than publishing: probabilities are off by about 1e-3."""


def assign_folds(
    groups_N: NDArray[Any], y_N: Integers, num_folds: int, seed: int = 0
) -> NDArray[np.intp]:
    """Return fold_N: near-duplicate groups stay whole, classes are spread evenly.

    The number of folds is lowered to the number of groups of the rarest class that has at least
    two. A class with a single group cannot be both learnt and judged: it is always predicted by
    a fit that never saw it. Groups (any sortable dtype) with several labels count as their
    commonest. A single group in all puts every row in fold 0.
    """
    _, group_N = np.unique(groups_N, return_inverse=True)
    num_groups, num_classes = int(group_N.max(initial=-1)) + 1, int(y_N.max(initial=-1)) + 1
    counts_GK = np.zeros((num_groups, num_classes), np.intp)
    np.add.at(counts_GK, (group_N, y_N), 1)
    class_G, size_G = counts_GK.argmax(axis=1), counts_GK.sum(axis=1)
    groups_K = np.bincount(class_G, minlength=num_classes)
    num_folds = min([num_folds, max(num_groups, 1), *groups_K[groups_K >= 2].tolist()])
    # The largest groups first, rare classes before common ones, so that small groups even out
    # what large ones upset; the shuffle breaks ties.
    shuffled_G = np.random.default_rng(seed).permutation(num_groups)
    order_G = np.lexsort((shuffled_G, -size_G, class_G, groups_K[class_G]))
    load_FK = np.zeros((num_folds, num_classes), np.intp)
    fold_G = np.zeros(num_groups, np.intp)
    for group in order_G:
        own_F, all_F = load_FK[:, class_G[group]], load_FK.sum(axis=1)
        fold_G[group] = np.lexsort((all_F, own_F))[0]
        load_FK[fold_G[group]] += counts_GK[group]
    return fold_G[group_N]


def out_of_fold(
    design: Design,
    y_N: Integers,
    fold_N: Integers,
    num_classes: int,
    *,
    l2: float,
    train_mask_N: NDArray[np.bool_] | None = None,
    balance: float = 0.5,
    should_stop: Callable[[], bool] | None = None,
) -> Floats:
    """Return logits_NK, every row scored by a fit that saw neither it nor its fold.

    Rows outside `train_mask_N` are scored too, but no fit sees them: so the champion is judged
    on today's rows as if refitted on the labels of its own snapshot. Where a fit has seen no row
    of a class, that class gets `training.head.ABSENT_BIAS`.
    """
    splits = _splits(fold_N, train_mask_N)
    found = _fit_folds(design, y_N, num_classes, splits, l2, balance, should_stop)
    return _held_logits(design, splits, found)


def choose_l2(
    design: Design,
    y_N: Integers,
    fold_N: Integers,
    num_classes: int,
    grid: Sequence[float] = L2_GRID,
    *,
    balance: float = 0.5,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[float, Floats]:
    """Return the `l2` with the least out-of-fold loss, and its out-of-fold logits_NK for all rows.

    From strong to weak, each fit starting at the last, until the loss has risen twice. Of many
    rows, a stratified thousand choose; `l2` then shrinks in proportion, because the penalty is a
    prior worth a fixed number of rows whereas the loss is a mean over all of them.
    """
    sampled_N = _stratified(y_N, fold_N, max(_MAX_ROWS, 4 * num_classes))
    num_sampled = int(sampled_N.sum())
    ordered = sorted(grid, reverse=True)
    if num_sampled * num_classes > _MAX_LOGITS:
        ordered = ordered[::2]
    splits = _splits(fold_N, sampled_N)
    best_loss, best_l2, best_found = np.inf, ordered[0], None
    found: list[Coefficients] | None = None
    num_risen = 0
    for l2 in ordered:
        found = _fit_folds(design, y_N, num_classes, splits, l2, balance, should_stop, found)
        loss = _loss(_held_logits(design, splits, found)[sampled_N], y_N[sampled_N])
        if loss < best_loss:
            best_loss, best_l2, best_found, num_risen = loss, l2, found, 0
        else:
            num_risen += 1
        if num_risen == 2 or (should_stop is not None and should_stop()):
            break
    assert best_found is not None
    if num_sampled < len(y_N):
        best_l2 *= num_sampled / len(y_N)
        splits = _splits(fold_N, None)
        best_found = _fit_folds(
            design, y_N, num_classes, splits, best_l2, balance, should_stop, best_found
        )
    return best_l2, _held_logits(design, splits, best_found)


_Split = tuple[NDArray[np.bool_], NDArray[np.bool_]]


def _splits(fold_N: Integers, train_mask_N: NDArray[np.bool_] | None) -> list[_Split]:
    """Return (held_N, seen_N) for each fold."""
    held = [fold_N == fold for fold in np.unique(fold_N)]
    return [(h_N, ~h_N if train_mask_N is None else ~h_N & train_mask_N) for h_N in held]


def _fit_folds(
    design: Design,
    y_N: Integers,
    num_classes: int,
    splits: list[_Split],
    l2: float,
    balance: float,
    should_stop: Callable[[], bool] | None,
    starts: list[Coefficients] | None = None,
) -> list[Coefficients]:
    """Fit each fold. A start must come from the same fold, or held-out labels would leak."""
    return [
        fit(
            design,
            y_N,
            num_classes,
            l2=l2,
            rows=seen_N,
            balance=balance,
            start=start,
            tolerance=_TOLERANCE,
            should_stop=should_stop,
        )
        for (_, seen_N), start in zip(splits, starts or [None] * len(splits), strict=True)
    ]


def _held_logits(design: Design, splits: list[_Split], found: list[Coefficients]) -> Floats:
    logits_NK = np.empty((len(design.x_NR), len(found[0].bias_K)), np.float32)
    for (held_N, _), coefficients in zip(splits, found, strict=True):
        logits_NK[held_N] = design.logits(coefficients, held_N)
    return logits_NK


def _stratified(y_N: Integers, fold_N: Integers, limit: int) -> NDArray[np.bool_]:
    """Mark at most `limit` rows, evenly over classes and, within each, over folds."""
    num_rows = len(y_N)
    sampled_N = np.zeros(num_rows, np.bool_)
    picks = np.arange(min(limit, num_rows)) * num_rows // min(limit, num_rows)
    sampled_N[np.lexsort((fold_N, y_N))[picks]] = True
    return sampled_N


def _loss(logits_NK: Floats, y_N: Integers) -> float:
    """Return the mean loss of the rows that can be judged, 0 where none can."""
    scorable_N = is_scorable(logits_NK, y_N)
    if not scorable_N.any():
        return 0.0
    log_probs_NK = log_softmax(logits_NK[scorable_N].astype(np.float64), axis=1)
    return float(-log_probs_NK[np.arange(len(log_probs_NK)), y_N[scorable_N]].mean())
