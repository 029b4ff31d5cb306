"""Suffixes: N rows, D embedding, R embedding as it is fitted, S = R + 1, K classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from training.head.design_matrix import prepare
from training.head.preconditioner import preconditioner
from training.head.regression import fit

CURVATURE, L2 = 0.05, 0.01


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


@pytest.mark.parametrize("rotate", [True, False])
def test_the_block_of_the_hessian_is_the_identity_in_its_coordinates(digits, rotate) -> None:
    covariance = prepare(digits[0], rotate=rotate).covariance
    by = preconditioner(covariance, CURVATURE, L2)
    matrix_RR = np.diag(covariance) if covariance.ndim == 1 else covariance.astype(np.float64)
    hessian_SS = np.zeros((len(matrix_RR) + 1,) * 2)
    hessian_SS[:-1, :-1] = CURVATURE * matrix_RR + L2 * np.eye(len(matrix_RR))
    hessian_SS[-1, -1] = CURVATURE  # the bias: of ones, and not penalised
    u_SK = np.random.default_rng(0).normal(size=(len(hessian_SS), 3))
    found_SK = by.gradient(hessian_SS @ by.weights(u_SK))
    np.testing.assert_allclose(found_SK, u_SK, atol=1e-9)
    np.testing.assert_allclose(by.coordinates(by.weights(u_SK)), u_SK, atol=1e-9)


def test_a_fit_is_the_same_whether_its_rows_are_rotated_or_not(digits) -> None:
    x_ND, y_N = digits
    names = tuple(str(k) for k in range(10))
    heads = []
    for rotate in (True, False):
        design = prepare(x_ND, rotate=rotate)
        assert (design.basis_DR is not None) == rotate
        found = fit(design, y_N, 10, l2=L2)
        assert found.num_iterations < 30
        again = fit(design, y_N, 10, l2=L2, start=found)
        assert again.num_iterations <= 2, "it began elsewhere than where the last one ended"
        heads.append(design.head(found, names))
    rotated_NK, plain_NK = (head.logits(x_ND) for head in heads)
    np.testing.assert_allclose(plain_NK, rotated_NK, atol=0.02)
    assert np.abs(rotated_NK).max() > 5


def test_rows_fewer_than_their_features_are_always_rotated() -> None:
    few_ND = np.random.default_rng(0).normal(size=(10, 40))
    assert prepare(few_ND, rotate=False).basis_DR is not None
