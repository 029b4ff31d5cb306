"""The elements of a tensor of the Open Inference Protocol v2, as JSON and as binary data.

Binary data is little-endian and row-major. The length of each element of BYTES precedes it, in 4
bytes. In JSON, numbers are nested or flat. BYTES in a request are as the kind of
input has them in JSON: base64 of a photo, which is not UTF-8, and a text itself. BYTES in a
response are text, as labels are. An element of BOOL takes one byte.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError, InvalidRequest

_LENGTH = struct.Struct("<I")

# The elements of a request: binary data, or the list `data` of the JSON.
RawTensor = memoryview | list[Any]
Elements = NDArray[np.float32] | NDArray[np.bool_] | list[bytes]


def read_uint8(raw: RawTensor, shape: Sequence[int], name: str) -> NDArray[np.uint8]:
    """Raises InvalidRequest."""
    num = math.prod(shape)
    if isinstance(raw, memoryview):
        if len(raw) != num:
            raise InvalidRequest(
                f"input {name!r} has {len(raw):,} bytes of binary data; its shape "
                f"{list(shape)} takes {num:,} of UINT8; send one byte for each element"
            )
        return np.frombuffer(raw, np.uint8).reshape(shape)
    return _numbers(raw, shape, name).reshape(shape)


def read_bytes(
    raw: RawTensor, shape: Sequence[int], name: str, encode: Callable[[str], bytes]
) -> list[bytes]:
    """`encode` returns the bytes of a string of JSON. Raises InvalidRequest."""
    binary = isinstance(raw, memoryview)
    elements = list(_split(raw, name)) if isinstance(raw, memoryview) else _flat(raw)
    if len(elements) != math.prod(shape):
        raise InvalidRequest(
            f"input {name!r} has {len(elements):,} elements; its shape {list(shape)} takes "
            f"{math.prod(shape):,}; send as many as the shape says"
        )
    if binary:
        return elements
    return [_encoded(element, encode, name, i) for i, element in enumerate(elements)]


def to_binary(elements: Elements) -> bytes:
    if isinstance(elements, list):
        return b"".join(_LENGTH.pack(len(element)) + element for element in elements)
    if elements.dtype == np.bool_:
        return elements.tobytes()
    return elements.astype("<f4", copy=False).tobytes()


def to_json(elements: Elements) -> list[Any]:
    """One flat list."""
    if isinstance(elements, list):
        return [element.decode() for element in elements]
    return list(elements.ravel().tolist())


def _numbers(raw: list[Any], shape: Sequence[int], name: str) -> NDArray[np.uint8]:
    flat = raw
    for num in shape[1:]:
        if not (flat and isinstance(flat[0], list)):
            break
        if set(map(type, flat)) != {list} or set(map(len, flat)) != {num}:
            raise InvalidRequest(
                f"the lists in `data` of input {name!r} differ from its shape {list(shape)}; "
                "nest them as the shape says, or send one flat list"
            )
        flat = list(chain.from_iterable(flat))
    # Types are checked here: numpy would make a huge array of a list with one long text.
    if len(flat) == math.prod(shape) and set(map(type, flat)) == {int}:
        try:
            return np.frombuffer(bytes(flat), np.uint8)
        except ValueError:
            pass
    raise InvalidRequest(
        f"`data` of input {name!r} does not fit its shape {list(shape)} and datatype UINT8; "
        f"send {math.prod(shape):,} whole numbers from 0 to 255"
    )


def _split(raw: memoryview, name: str) -> Iterator[bytes]:
    start = 0
    while start < len(raw):
        left = len(raw) - start - _LENGTH.size
        length = _LENGTH.unpack_from(raw, start)[0] if left >= 0 else 0
        if length > left:
            raise InvalidRequest(
                f"the binary data of input {name!r} ends inside an element; send each with its "
                "length in 4 bytes, little-endian, before it"
            )
        start += _LENGTH.size + length
        yield bytes(raw[start - length : start])


def _flat(raw: list[Any]) -> list[Any]:
    """Flatten one level: some clients send the shape [2, 1] as [[a], [b]]."""
    return [each for item in raw for each in (item if isinstance(item, list) else [item])]


def _encoded(element: object, encode: Callable[[str], bytes], name: str, i: int) -> bytes:
    place = f"element {i} of input {name!r}"
    if not isinstance(element, str):
        raise InvalidRequest(f"{place} is no string of JSON; send strings, or binary data")
    try:
        return encode(element)
    except InputError as error:
        raise InvalidRequest(f"{place}: {error}") from error
