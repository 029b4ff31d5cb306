"""Chunks of rows: the same result on one core and on many."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.head import chunks
from training.head.chunks import in_float32, map_chunks
from training.head.design_matrix import prepare
from training.head.regression import fit

ROWS = chunks._ROWS


@pytest.mark.parametrize("num_rows", [0, 1, ROWS, ROWS + 1, 5 * ROWS - 3])
def test_chunks_hold_each_row_once_and_in_order(num_rows: int) -> None:
    chunked = map_chunks(num_rows, lambda rows: np.arange(num_rows)[rows])
    assert np.array_equal(np.concatenate([*chunked, []]), np.arange(num_rows))


@pytest.mark.parametrize("num_rows", [0, 1, ROWS, ROWS + 1])
def test_stored_embeddings_are_read_in_float32(num_rows: int) -> None:
    x_ND = np.arange(2 * num_rows).reshape(-1, 2).astype(np.float16)
    kinds = set()

    def sums(x_BD: NDArray[np.float32]) -> NDArray[np.float32]:
        kinds.add((x_BD.dtype, len(x_BD) <= ROWS))
        return x_BD.sum(axis=1)

    found_N = in_float32(x_ND, sums)
    assert kinds == {(np.dtype(np.float32), True)}
    assert np.array_equal(found_N, x_ND.astype(np.float32).sum(axis=1))


def test_design_of_stored_embeddings_is_that_of_float32() -> None:
    x_ND = np.random.default_rng(0).normal(size=(ROWS + 50, 8)).astype(np.float16)
    stored, exact = prepare(x_ND), prepare(x_ND.astype(np.float32))
    assert np.array_equal(stored.x_NR, exact.x_NR)


def test_error_in_a_chunk_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        map_chunks(3 * ROWS, lambda rows: rows.start // 0)


def test_fit_gives_the_same_bits_on_any_number_of_cores(
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
