"""Rows in parts: the same result on one core and on many."""

from __future__ import annotations

import numpy as np
import pytest

from training.head import chunks
from training.head.chunks import in_parts
from training.head.design_matrix import prepare
from training.head.regression import fit

ROWS = chunks._ROWS


@pytest.mark.parametrize("num_rows", [0, 1, ROWS, ROWS + 1, 5 * ROWS - 3])
def test_every_row_is_in_one_part_in_order(num_rows: int) -> None:
    found = in_parts(num_rows, lambda rows: np.arange(num_rows)[rows])
    assert np.array_equal(np.concatenate([*found, []]), np.arange(num_rows))


def test_what_a_part_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        in_parts(3 * ROWS, lambda rows: rows.start // 0)


def test_a_fit_is_the_same_to_the_bit_on_any_number_of_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    y_N = rng.integers(0, 3, 2 * ROWS + 100)
    x_ND = rng.normal(size=(len(y_N), 8)).astype(np.float32)
    x_ND[np.arange(len(y_N)), y_N] += 1
    fitted = []
    for cores in (1, 2, 4):
        monkeypatch.setattr(chunks, "available_cores", lambda cores=cores: cores)
        found = fit(prepare(x_ND), y_N, 3, l2=1e-3)
        fitted.append((found.weights_RK.tobytes(), found.bias_K.tobytes()))
    assert fitted[0] == fitted[1] == fitted[2]
