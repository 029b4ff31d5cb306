from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.errors import InvalidRequest
from core.inputs.pixels.kind import PIXELS
from service.oip import tensors

SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=4)


@given(arrays.arrays(np.uint8, SHAPES))
def test_pixels_are_the_same_in_each_form(pixels: Any) -> None:
    for sent in (memoryview(pixels.tobytes()), pixels.ravel().tolist(), pixels.tolist()):
        found = tensors.read_uint8(sent, pixels.shape, "pixels")
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, pixels)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_bytes_are_the_same_in_each_form(elements: list[bytes]) -> None:
    binary = memoryview(tensors.to_binary(elements))
    in_json: list[Any] = [base64.b64encode(element).decode() for element in elements]
    column = [[text] for text in in_json]
    for sent in (binary, in_json, column):
        assert tensors.read_bytes(sent, (len(elements),), "image", PIXELS.encode) == elements


@given(st.binary(max_size=40), st.integers(1, 3))
def test_binary_data_is_read_or_refused(content: bytes, num: int) -> None:
    try:
        found = tensors.read_bytes(memoryview(content), (num,), "image", PIXELS.encode)
    except InvalidRequest:
        return
    assert tensors.to_binary(found) == content


NOT_PIXELS: list[Any] = [
    [],
    [1, 2, 3],
    [1, 2, 3, 4, 5],
    [0, 0, 0, 256],
    [0, 0, 0, -1],
    [0, 0, 0, 0.5],
    [0, 0, 0, True],
    [0, 0, 0, None],
    ["0", "0", "0", "0"],
    [[0, 0], [0]],
    [[0, 0, 0, 0]],
    [[0, 0], 0, 0],
    [[[0, 0]], [[0, 0]]],
    [10**30, 0, 0, 0],
]


@pytest.mark.parametrize("sent", NOT_PIXELS, ids=repr)
def test_invalid_pixels_are_refused(sent: list[Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"'pixels'.*\[2, 2\].*send|nest"):
        tensors.read_uint8(sent, (2, 2), "pixels")


def test_long_text_among_numbers_takes_no_memory() -> None:
    with pytest.raises(InvalidRequest):
        tensors.read_uint8(["x" * 1_000_000] + [""] * 999_999, (1_000_000,), "pixels")
