from __future__ import annotations

import base64
import json
import math
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from service.oip import messages, tensors
from service.oip.messages import InferRequest, Output

SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=4)


@given(arrays.arrays(np.uint8, SHAPES))
def test_pixels_are_the_same_however_they_are_sent(pixels: Any) -> None:
    for sent in (memoryview(pixels.tobytes()), pixels.ravel().tolist(), pixels.tolist()):
        found = tensors.read_uint8(sent, pixels.shape, "pixels")
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, pixels)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_bytes_are_the_same_however_they_are_sent(elements: list[bytes]) -> None:
    binary = memoryview(tensors.to_binary(elements))
    in_json: list[Any] = [base64.b64encode(element).decode() for element in elements]
    column = [[text] for text in in_json]
    for sent in (binary, in_json, column):
        assert tensors.read_bytes(sent, (len(elements),), "image") == elements


@given(st.binary(max_size=40), st.integers(1, 3))
def test_binary_data_is_read_or_refused(content: bytes, num: int) -> None:
    try:
        found = tensors.read_bytes(memoryview(content), (num,), "image")
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
def test_numbers_that_are_no_pixels_are_refused(sent: list[Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"'pixels'.*\[2, 2\].*send|nest"):
        tensors.read_uint8(sent, (2, 2), "pixels")


def test_one_long_text_among_numbers_costs_no_memory() -> None:
    with pytest.raises(InvalidRequest):
        tensors.read_uint8(["x" * 1_000_000] + [""] * 999_999, (1_000_000,), "pixels")


@given(
    arrays.arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32)),
    st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_outputs_are_read_back_by_the_rules_of_the_protocol(
    numbers: Any, labels: list[str], first: bool, second: bool
) -> None:
    encoded = [label.encode() for label in labels]
    outputs = [
        Output("probabilities", "FP32", numbers.shape, numbers, first),
        Output("label", "BYTES", (len(labels),), encoded, second),
    ]
    content, length = messages.write("evergreen", 3, "a", outputs)
    header = json.loads(content[:length])
    assert (header["model_name"], header["model_version"]) == ("evergreen", "3")
    assert header["id"] == "a"
    assert (length is None) == (not first and not second)
    rest = content[length:] if length else b""
    for output, tensor in zip(outputs, header["outputs"], strict=True):
        size = tensor.get("parameters", {}).get("binary_data_size")
        assert (size is not None) == output.is_binary
        chunk, rest = (rest[:size], rest[size:]) if size is not None else (None, rest)
        if output.name == "label":
            found = tensor.get("data") or tensors.read_bytes(
                memoryview(chunk or b""), (len(labels),), ""
            )
            assert found == (encoded if output.is_binary else labels)
        else:
            values = tensor["data"] if chunk is None else np.frombuffer(chunk, "<f4")
            np.testing.assert_array_equal(np.asarray(values, np.float32), numbers.ravel())
            assert math.prod(tensor["shape"]) == numbers.size
    assert rest == b""


def request(**fields: Any) -> bytes:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["AA=="]}
    return json.dumps({"inputs": [tensor | fields.pop("tensor", {})], **fields}).encode()


def test_a_request_is_read_with_its_wishes() -> None:
    found = messages.read(
        request(
            id="7",
            parameters={"binary_data_output": True, "priority": 1},
            outputs=[
                {"name": "label", "parameters": {"binary_data": False}},
                {"name": "probabilities", "parameters": {"classification": 3}},
            ],
        ),
        None,
    )
    assert (found.id, found.is_binary) == ("7", True)
    assert found.outputs is not None
    assert [(o.name, o.is_binary, o.num_best) for o in found.outputs] == [
        ("label", False, 0),
        ("probabilities", True, 3),
    ]


def sized(size: Any) -> dict[str, Any]:
    return {"parameters": {"binary_data_size": size}}


@pytest.mark.parametrize(
    ("body", "header", "part"),
    [
        (b"", None, "first 0 bytes of the body are not JSON"),
        (b"{", None, "not JSON"),
        (b"\xff\xfe", None, "not JSON"),
        (b"[" * 100_000, None, "not JSON"),
        (b'{"id":' + b"9" * 5000 + b"}", None, "not JSON"),
        (b"[]", None, r"the request is \[\]; send a JSON object"),
        (b"{}", None, "`inputs` is None; send a list"),
        (b'{"inputs": [1]}', None, "each of `inputs` is 1"),
        (request(id=7), None, "`id` is 7; send a string"),
        (request(parameters=[]), None, r"`parameters` is \[\]"),
        (request(outputs={}), None, "`outputs` is {}"),
        (request(outputs=[{}]), None, "`name` of a tensor is None"),
        (request(tensor={"shape": "x"}), None, "`shape` is 'x'"),
        (request(tensor={"shape": [-1]}), None, "number in `shape` of 'image' is -1"),
        (request(tensor={"shape": [True]}), None, "is True; send a whole number"),
        (request(tensor={"shape": [10**4000]}), None, "send a whole number from 0 to 2,147"),
        (request(tensor={"data": None}), None, "`data` is None"),
        (request(tensor={"name": None}), None, "`name` of a tensor is None"),
        (request(tensor={"datatype": 1}), None, "`datatype` of a tensor is 1"),
        (request(tensor={"parameters": {"shared_memory_region": "x"}}), None, "binary data"),
        (request(outputs=[{"name": "label", "parameters": {"classification": -1}}]), None, "-1"),
        (request(tensor=sized(5)), None, "has 5 bytes of binary data .* 0 are left"),
        (request(tensor=sized("5")), None, "`binary_data_size` of 'image' is '5'"),
        (request() + b"rest", str(len(request())), "4 bytes of binary data belong to no input"),
        (request(), "999", "Length is 999, but the body has"),
        (request(), "-1", "Length is '-1'"),
        (request(), "²", "Length is '²'"),
        (request(), "1" * 5000, "send the length of the JSON"),
        (request(), "3", "first 3 bytes of the body are not JSON"),
    ],
)
def test_a_request_that_breaks_the_rules_is_told_which(
    body: bytes, header: str | None, part: str
) -> None:
    with pytest.raises(InvalidRequest, match=part) as caught:
        messages.read(body, header)
    assert len(str(caught.value)) < 400


def test_a_wrong_value_is_quoted_in_part() -> None:
    for long in ("x" * 10_000, list(range(10_000)), {str(i): i for i in range(10_000)}):
        with pytest.raises(InvalidRequest) as caught:
            messages.read(request(parameters=[long]), None)
        assert len(str(caught.value)) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["name", "shape", "datatype", "data", "inputs", "outputs", "id"])
            | st.sampled_from(["parameters", "binary_data_size", "classification"]),
            inner,
        )
    ),
)


@settings(max_examples=40)
@given(st.fixed_dictionaries({"inputs": JSON}, optional={"outputs": JSON, "parameters": JSON}))
def test_any_json_is_read_or_refused(content: Any) -> None:
    try:
        found = messages.read(json.dumps(content).encode(), None)
    except InvalidRequest as error:
        str(error).encode()  # or it could not be answered
        return
    assert isinstance(found, InferRequest)


@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("deflate", 15), ("GZIP ", 31)])
def test_compressed_bodies_are_unpacked(encoding: str, wbits: int) -> None:
    packed = zlib.compress(b"content" * 100, wbits=wbits)
    assert messages.decompress(packed, encoding, 700) == b"content" * 100
    with pytest.raises(BodyTooLarge, match="more than 699 bytes when decompressed"):
        messages.decompress(packed, encoding, 699)


def test_compressed_bodies_that_are_damaged_are_refused() -> None:
    packed = zlib.compress(b"content" * 100, wbits=31)
    for body in (b"", b"plain", packed[:-9], packed + packed):
        with pytest.raises(InvalidRequest, match="gzip"):
            messages.decompress(body, "gzip", 10_000)
    with pytest.raises(UnsupportedMediaType, match="'br'; send gzip, deflate"):
        messages.decompress(packed, "br", 10_000)
    assert messages.decompress(b"plain", "identity", 10_000) == b"plain"
