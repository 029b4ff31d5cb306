"""Suffixes: N rows, D embedding, R rotated embedding, S = R + 1, K classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from training.head.design_matrix import prepare
from training.head.preconditioner import step_sizes
from training.head.regression import fit

CURVATURE, L2 = 0.05, 0.01


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


def test_hessian_is_about_the_identity_in_preconditioned_coordinates(digits) -> None:
    design = prepare(digits[0][:500])  # of more rows, only some give the covariance
    step_S1 = step_sizes(design.variance_R, CURVATURE, L2)
    num_features = design.x_NR.shape[1]
    x_NS = np.column_stack([design.x_NR, np.ones(len(design.x_NR))]).astype(np.float64)
    penalty_S = np.append(np.full(num_features, L2), 0)  # the bias is not penalised
    hessian_SS = CURVATURE * x_NS.T @ x_NS / len(x_NS) + np.diag(penalty_S)
    np.testing.assert_allclose(step_S1 * hessian_SS * step_S1.T, np.eye(len(step_S1)), atol=1e-4)


def test_fit_that_starts_at_its_optimum_ends_there(digits) -> None:
    x_ND, y_N = digits
    design = prepare(x_ND)
    fitted = fit(design, y_N, 10, l2=L2)
    assert fitted.num_iterations < 30
    assert fit(design, y_N, 10, l2=L2, start=fitted).num_iterations <= 2
