"""What wrong labels may cost, on real images.

N rows, D embedding, K classes.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from tests.training.digits_store import all_digits
from training.dataset import Dataset
from training.head import label_noise
from training.head.fit import fit_head
from training.recipe import HeadRecipe

# Slow: trains heads. Not in `make check`.
pytestmark = pytest.mark.slow

ALLOWED_COST = 0.015  # for a tenth of the labels; the same figure as in the bench on photos
SEEDS = range(2)
CLASSES = tuple(sorted({digit.label for digit in all_digits()}))


@pytest.fixture(scope="module")
def projected():
    """1,797 digits in 512 dimensions, of which a head can memorise 300 rows or more."""
    x_ND, y_N = load_digits(return_X_y=True)
    rng = np.random.default_rng(7)
    # A random layer with a kink, as a network's last one: rich, and not made for the task.
    x_ND = np.maximum(0, (x_ND / 16 - 0.3) @ rng.normal(size=(64, 512)))
    order_N = rng.permutation(len(y_N))
    return x_ND[order_N].astype(np.float32), y_N[order_N]


def dataset(x_ND, y_N):
    group_N = np.arange(len(y_N)).astype(str)
    return Dataset(CLASSES, x_ND, y_N, group_N, np.arange(len(y_N)), len(y_N))


def flipped(y_N, share, seed):
    rng = np.random.default_rng(seed)
    at = rng.permutation(len(y_N))[: round(share * len(y_N))]
    y_N = y_N.copy()
    y_N[at] = (y_N[at] + rng.integers(1, len(CLASSES), len(at))) % len(CLASSES)
    return y_N


def learn(x_ND, y_N):
    with threadpool_limits(1):
        return fit_head(dataset(x_ND, y_N), HeadRecipe(), score_all=True)


def accuracy(head, x_ND, y_N):
    return float((head.logits(x_ND).argmax(axis=1) == y_N).mean())


@pytest.mark.parametrize("num_rows", [500, 900])
def test_wrong_tenth_of_the_labels_costs_little(projected, num_rows):
    x_ND, y_N = projected
    judge_x_ND, judge_y_N = x_ND[1200:], y_N[1200:]
    x_ND, y_N = x_ND[:num_rows], y_N[:num_rows]
    clean = accuracy(learn(x_ND, y_N).head, judge_x_ND, judge_y_N)
    noisy = [
        accuracy(learn(x_ND, flipped(y_N, 0.1, seed)).head, judge_x_ND, judge_y_N) for seed in SEEDS
    ]
    assert clean > 0.9
    assert clean - np.mean(noisy) <= ALLOWED_COST, (clean, noisy)


def test_wrong_labels_cost_more_without_label_weights(projected, monkeypatch):
    x_ND, y_N = projected
    noisy_N = flipped(y_N[:900], 0.1, 0)
    doubting = accuracy(learn(x_ND[:900], noisy_N).head, x_ND[1200:], y_N[1200:])
    monkeypatch.setattr(label_noise, "_MAX_ROWS", 0)
    trusting = accuracy(learn(x_ND[:900], noisy_N).head, x_ND[1200:], y_N[1200:])
    assert doubting > trusting


def test_right_labels_keep_their_weight(projected, monkeypatch):
    x_ND, y_N = projected
    doubting = accuracy(learn(x_ND[:500], y_N[:500]).head, x_ND[1200:], y_N[1200:])
    monkeypatch.setattr(label_noise, "_MAX_ROWS", 0)
    trusting = accuracy(learn(x_ND[:500], y_N[:500]).head, x_ND[1200:], y_N[1200:])
    assert doubting >= trusting - 0.005


def test_rare_class_is_not_mistaken_for_wrong_labels(projected):
    x_ND, y_N = projected
    is_rare_N = y_N == 3
    kept_N = ~is_rare_N | (np.cumsum(is_rare_N) <= 4)
    x_ND, y_N = x_ND[kept_N], y_N[kept_N]
    fitted = learn(x_ND[:700], flipped(y_N[:700], 0.05, 0))
    own_N = y_N[:700] == 3
    assert own_N.sum() == 4
    assert (fitted.head.logits(x_ND[:700][own_N]).argmax(axis=1) == 3).mean() >= 0.5


def test_the_same_wrong_labels_make_the_same_head(projected):
    x_ND, y_N = projected
    noisy_N = flipped(y_N[:500], 0.1, 0)
    first, second = learn(x_ND[:500], noisy_N).head, learn(x_ND[:500], noisy_N).head
    assert first.weights_DK.tobytes() == second.weights_DK.tobytes()
    assert first.bias_K.tobytes() == second.bias_K.tobytes()
