from __future__ import annotations

import json
import math
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from core.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from core.inputs.pixels.kind import PIXELS
from service.oip import messages, tensors
from service.oip.messages import InferenceRequest, Output

# Numbers of a batch of 64 photos of 144 x 144.
MOST = 64 * 144 * 144 * 3
SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=4)


@given(
    arrays.arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32)),
    st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_outputs_can_be_read_back(
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
                memoryview(chunk or b""), (len(labels),), "", PIXELS.encode
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


def test_request_is_read_with_its_parameters() -> None:
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
        MOST,
    )
    assert found.id == "7"
    assert [(o.name, found.is_binary(o), o.parameters.classification) for o in found.outputs] == [
        ("label", False, 0),
        ("probabilities", True, 3),
    ]


def test_data_may_have_any_elements() -> None:
    elements: list[Any] = [1, None, "x", [2, {"y": 3}]]
    (tensor,) = messages.read(request(tensor={"data": elements}), None, MOST).inputs
    assert tensor.raw == elements


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
        (b"[]", None, r"the body is \[\]: input should be an object"),
        (b"{}", None, "inputs: field required"),
        (b'{"inputs": [1]}', None, "inputs.0 is 1: input should be an object"),
        (request(id=7), None, "id is 7: input should be a valid string"),
        (request(parameters=[]), None, r"parameters is \[\]: input should be an object"),
        (request(outputs={}), None, "outputs is {}: input should be a valid array"),
        (request(outputs=[{}]), None, "outputs.0.name: field required"),
        (
            request(tensor={"shape": "x"}),
            None,
            "inputs.0.shape is 'x': input should be a valid array",
        ),
        (request(tensor={"shape": [-1]}), None, "inputs.0.shape.0 is -1: .*than or equal to 0"),
        (
            request(tensor={"shape": [True]}),
            None,
            "shape.0 is True: input should be a valid integer",
        ),
        (request(tensor={"shape": [10**4000]}), None, "should be less than 2147483648"),
        (request(tensor={"data": None}), None, "'image' has no `data`; send a list"),
        (request(tensor={"name": None}), None, "inputs.0.name is None: .* valid string"),
        (request(tensor={"datatype": 1}), None, "inputs.0.datatype is 1: .* valid string"),
        (request(tensor={"parameters": {"shared_memory_region": "x"}}), None, "send binary data"),
        (request(outputs=[{"name": "label", "parameters": {"classification": -1}}]), None, "-1"),
        (request(tensor=sized(5)), None, "has 5 bytes of binary data .* 0 are left"),
        (request(tensor=sized("5")), None, "parameters.binary_data_size is '5': .* valid integer"),
        (request() + b"rest", str(len(request())), "4 bytes of binary data belong to no input"),
        (request(), "999", "Length is 999, but the body has"),
        (request(), "-1", "Length is '-1'"),
        (request(), "²", "Length is '²'"),
        (request(), "1" * 5000, "send the length of the JSON"),
        (request(), "3", "first 3 bytes of the body are not JSON"),
    ],
)
def test_refusal_names_the_broken_rule(body: bytes, header: str | None, part: str) -> None:
    with pytest.raises(InvalidRequest, match=part) as caught:
        messages.read(body, header, MOST)
    assert len(str(caught.value)) < 400


def test_refusal_quotes_a_wrong_value_in_part() -> None:
    for long in ("x" * 10_000, list(range(10_000)), {str(i): i for i in range(10_000)}):
        with pytest.raises(InvalidRequest) as caught:
            messages.read(request(parameters=[long]), None, MOST)
        assert len(str(caught.value)) < 400


def test_reading_ends_at_the_first_of_many_wrong_values() -> None:
    for wrong in (request(tensor={"shape": ["x"] * 4_000}), request(outputs=[{}] * 9_000)):
        with pytest.raises(InvalidRequest) as caught:
            messages.read(wrong, None, MOST)
        assert isinstance(caught.value.__cause__, ValidationError)
        assert caught.value.__cause__.error_count() == 1


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
    max_leaves=20,
)


@settings(max_examples=40)
@given(st.fixed_dictionaries({"inputs": JSON}, optional={"outputs": JSON, "parameters": JSON}))
def test_any_json_is_read_or_refused(content: Any) -> None:
    try:
        found = messages.read(json.dumps(content).encode(), None, MOST)
    except InvalidRequest as error:
        str(error).encode()  # or it could not be answered
        return
    assert isinstance(found, InferenceRequest)


@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("deflate", 15), ("GZIP ", 31)])
def test_compressed_bodies_are_decompressed(encoding: str, wbits: int) -> None:
    packed = zlib.compress(b"content" * 100, wbits=wbits)
    assert messages.decompress(packed, encoding, 700) == b"content" * 100
    with pytest.raises(BodyTooLarge, match="more than 699 bytes when decompressed"):
        messages.decompress(packed, encoding, 699)


def test_damaged_compressed_bodies_are_refused() -> None:
    packed = zlib.compress(b"content" * 100, wbits=31)
    for body in (b"", b"plain", packed[:-9], packed + packed):
        with pytest.raises(InvalidRequest, match="gzip"):
            messages.decompress(body, "gzip", 10_000)
    with pytest.raises(UnsupportedMediaType, match="'br'; send gzip, deflate"):
        messages.decompress(packed, "br", 10_000)
    assert messages.decompress(b"plain", "identity", 10_000) == b"plain"


@pytest.mark.parametrize("element", ["1", "[]", "{}", '""', "[[]]", '{"a":1}'])
def test_message_of_more_elements_than_a_batch_is_refused_before_it_is_parsed(element: str) -> None:
    head = request(tensor={"data": ["here"]}).decode()
    body = head.replace('"here"', ",".join([element] * 200_000)).encode()
    with pytest.raises(InvalidRequest, match=r"the limit is .* send fewer inputs") as caught:
        messages.read(body, None, 100_000)
    assert caught.value.__cause__ is None


def test_nested_numbers_of_a_whole_batch_are_read() -> None:
    data = np.zeros((64, 32, 32, 3), int).tolist()
    (tensor,) = messages.read(request(tensor={"data": data}), None, 64 * 32 * 32 * 3).inputs
    assert tensor.raw == data
