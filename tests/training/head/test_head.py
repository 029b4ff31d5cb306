"""Suffixes: N rows, D embedding, R rotated embedding, K classes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from training.head.design_matrix import prepare
from training.head.head import Head, to_unit_rms
from training.head.regression import fit

SAME_PROBABILITY = 1e-3  # far below what a reader of a confidence could notice
SAME_LOGIT = 2e-3  # float32 products in another order


def clusters(num_rows, num_features, num_classes, separation, seed=0):
    """Gaussian classes whose covariance has the spectrum 1/k, in a random basis."""
    rng = np.random.default_rng(seed)
    basis_DD, _ = np.linalg.qr(rng.normal(size=(num_features, num_features)))
    spread_D = np.sqrt(1 / np.arange(1, num_features + 1))
    y_N = rng.integers(0, num_classes, num_rows)
    centre_KD = separation * spread_D * rng.normal(size=(num_classes, num_features))
    x_ND = centre_KD[y_N] + spread_D * rng.normal(size=(num_rows, num_features))
    return (3 * x_ND @ basis_DD.T + 1).astype(np.float32), y_N


def probabilities(design, coefficients):
    return softmax(design.logits(coefficients), axis=1)


@pytest.mark.parametrize("l2", [1.0, 0.03])
def test_fit_equals_scikit_learn(l2):
    x_ND, y_N = load_digits(return_X_y=True)
    x_ND, y_N = x_ND[:600], y_N[:600]
    design = prepare(x_ND)
    theirs = LogisticRegression(C=1 / (l2 * len(y_N)), tol=1e-8, max_iter=5000)
    x_NR = design.x_NR.astype(np.float64)
    expected_NK = theirs.fit(x_NR, y_N).predict_proba(x_NR)
    found = fit(design, y_N, 10, l2=l2, balance=0)
    np.testing.assert_allclose(probabilities(design, found), expected_NK, atol=SAME_PROBABILITY)


def test_fit_converges_in_few_iterations_however_ill_conditioned():
    x_ND, y_N = clusters(1500, 576, 5, separation=0.08)
    # Without standardisation only the preconditioner stands between L-BFGS and the spectrum.
    design = prepare(x_ND * np.float32(0.001))
    found = fit(design, y_N, 5, l2=0.1)
    assert found.num_iterations <= 20
    further = fit(design, y_N, 5, l2=0.1, tolerance=1e-7, max_iterations=1000)
    np.testing.assert_allclose(
        probabilities(design, found), probabilities(design, further), atol=SAME_PROBABILITY
    )


def test_preconditioning_saves_most_iterations():
    x_ND, y_N = clusters(1500, 100, 5, separation=0.3)
    x_ND *= np.linspace(0.02, 1, 100, dtype=np.float32)
    design = prepare(x_ND)
    one_hot_NK = np.eye(5)[y_N]

    def plain(flat):
        w_RK = flat.reshape(-1, 5)
        z_NK = design.x_NR @ w_RK
        p_NK = softmax(z_NK, axis=1)
        loss = -np.log((p_NK * one_hot_NK).sum(axis=1)).mean() + 0.005 * np.square(w_RK).sum()
        return loss, (design.x_NR.T @ (p_NK - one_hot_NK) / len(y_N) + 0.01 * w_RK).ravel()

    options = {"gtol": 1e-5, "ftol": 1e-10, "maxiter": 1000}
    theirs = minimize(plain, np.zeros(500), method="L-BFGS-B", jac=True, options=options)
    assert fit(design, y_N, 5, l2=0.01, balance=0).num_iterations < theirs.nit / 2


def test_fit_with_fewer_rows_than_features_solves_the_same_problem():
    x_ND, y_N = clusters(120, 576, 3, separation=0.3)
    design = prepare(x_ND)
    assert design.x_NR.shape[1] == 119  # centring takes one direction
    standard_ND = (to_unit_rms(x_ND) - design.mean_D) / design.scale_D
    theirs = LogisticRegression(C=1 / (0.1 * 120), tol=1e-8, max_iter=5000)
    expected_NK = theirs.fit(standard_ND, y_N).predict_proba(standard_ND)
    found = fit(design, y_N, 3, l2=0.1, balance=0)
    np.testing.assert_allclose(probabilities(design, found), expected_NK, atol=SAME_PROBABILITY)


@pytest.mark.parametrize("num_rows", [60, 400])
def test_head_is_one_affine_map_of_the_direction_of_an_embedding(num_rows):
    x_ND, y_N = clusters(num_rows, 100, 3, separation=0.5)
    x_ND[:, 7] = 5  # a dead feature
    design = prepare(x_ND)
    found = fit(design, y_N, 3, l2=0.01)
    head = design.head(found, ("a", "b", "c"), temperature=2.0)
    np.testing.assert_allclose(head.logits(x_ND), design.logits(found), atol=SAME_LOGIT)
    assert head.weights_DK.dtype == head.bias_K.dtype == head.logits(x_ND).dtype == np.float32
    expected_NK = softmax(design.logits(found) / 2, axis=1)
    np.testing.assert_allclose(head.probabilities(x_ND), expected_NK, atol=SAME_PROBABILITY)


def test_length_of_an_embedding_does_not_change_the_logits():
    x_ND, y_N = clusters(200, 32, 3, separation=0.5)
    longer_ND = x_ND * np.random.default_rng(0).uniform(0.1, 10, (200, 1)).astype(np.float32)
    heads = [
        design.head(fit(design, y_N, 3, l2=0.01), ("a", "b", "c"))
        for design in map(prepare, (x_ND, longer_ND))
    ]
    np.testing.assert_allclose(heads[0].logits(x_ND), heads[1].logits(longer_ND), atol=SAME_LOGIT)


def test_embedding_of_zeros_gets_logits():
    zeros_ND = np.zeros((2, 8), np.float32)
    np.testing.assert_array_equal(to_unit_rms(zeros_ND), zeros_ND)
    head = Head(("a", "b"), np.ones((8, 2), np.float32), np.array([0, 1], np.float32))
    np.testing.assert_array_equal(head.logits(zeros_ND), [[0, 1], [0, 1]])


def test_design_of_one_row_can_be_fitted():
    design = prepare(np.ones((1, 8), np.float16))
    head = design.head(fit(design, np.array([1]), 2, l2=0.1), ("a", "b"))
    assert head.probabilities(np.ones((1, 8))).argmax() == 1


def test_warm_start_reaches_the_same_optimum_sooner():
    x_ND, y_N = clusters(800, 100, 4, separation=0.3)
    design = prepare(x_ND)
    cold = fit(design, y_N, 4, l2=0.01)
    warm = fit(design, y_N, 4, l2=0.01, start=fit(design, y_N, 4, l2=0.012))
    np.testing.assert_allclose(
        probabilities(design, warm), probabilities(design, cold), atol=SAME_PROBABILITY
    )
    assert warm.num_iterations < cold.num_iterations


def test_weight_of_zero_equals_leaving_the_row_out():
    x_ND, y_N = clusters(300, 30, 3, separation=0.3)
    design = prepare(x_ND)
    kept_N = np.arange(300) % 3 > 0
    by_rows = fit(design, y_N, 3, l2=0.1, rows=kept_N)
    by_weights = fit(design, y_N, 3, l2=0.1, sample_weights_N=kept_N.astype(np.float64))
    np.testing.assert_allclose(
        probabilities(design, by_rows), probabilities(design, by_weights), atol=SAME_PROBABILITY
    )


def test_one_class_or_no_rows_need_no_optimiser():
    design = prepare(clusters(20, 5, 2, separation=1.0)[0])
    y_N = np.ones(20, np.intp)
    assert (design.logits(fit(design, y_N, 3, l2=0.1)).argmax(axis=1) == 1).all()
    nothing = fit(design, y_N, 3, l2=0.1, rows=np.zeros(20, np.bool_))
    np.testing.assert_allclose(probabilities(design, nothing), 1 / 3, rtol=1e-6)


def test_balance_improves_the_recall_of_a_rare_class():
    x_ND, y_N = clusters(4000, 30, 2, separation=0.25)
    kept = np.flatnonzero((y_N == 0) | (np.arange(4000) % 20 == 0))
    design, labels_N = prepare(x_ND[kept]), y_N[kept]
    recalls = []
    for balance in (0.0, 0.5, 1.0):
        predicted_N = design.logits(fit(design, labels_N, 2, l2=0.01, balance=balance)).argmax(1)
        recalls.append((predicted_N == 1)[labels_N == 1].mean())
    assert recalls[0] + 0.05 < recalls[1] < recalls[2] - 0.05


def test_should_stop_ends_the_fit_early():
    x_ND, y_N = clusters(300, 50, 3, separation=0.3)
    answers = iter([False, False, True])
    found = fit(prepare(x_ND), y_N, 3, l2=0.001, should_stop=lambda: next(answers))
    assert found.num_iterations == 3
    assert np.isfinite(found.weights_RK).all()


def test_same_inputs_give_the_same_bits():
    x_ND, y_N = clusters(700, 100, 5, separation=0.2)
    heads = []
    for _ in range(2):
        design = prepare(x_ND)
        heads.append(design.head(fit(design, y_N, 5, l2=0.01), tuple("abcde")))
    assert heads[0].weights_DK.tobytes() == heads[1].weights_DK.tobytes()
    assert heads[0].bias_K.tobytes() == heads[1].bias_K.tobytes()


def test_probabilities_sum_to_one():
    head = Head(("a", "b"), np.ones((3, 2), np.float32), np.array([0, 200], np.float32), 0.5)
    np.testing.assert_allclose(head.probabilities(np.ones((4, 3))).sum(axis=1), 1, rtol=1e-6)
