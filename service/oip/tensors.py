"""The elements of a tensor of the Open Inference Protocol v2: as JSON, and as binary data.

Binary data is little-endian and row-major; before each element of BYTES stands its length in 4
bytes. In JSON, numbers are nested or flat. BYTES are base64 where a client sends them, for a photo
is not UTF-8, and text where it gets them, for a label is.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidRequest

_LENGTH = struct.Struct("<I")

# As they are sent: the binary data, or what `data` held in the JSON.
Sent = memoryview | list[Any]
Elements = NDArray[np.float32] | list[bytes]


def read_uint8(sent: Sent, shape: Sequence[int], name: str) -> NDArray[np.uint8]:
    """Raises InvalidRequest."""
    num = math.prod(shape)
    if isinstance(sent, memoryview):
        if len(sent) != num:
            raise InvalidRequest(
                f"input {name!r} has {len(sent):,} bytes of binary data; its shape "
                f"{list(shape)} takes {num:,} of UINT8; send one byte for each element"
            )
        return np.frombuffer(sent, np.uint8).reshape(shape)
    return _numbers(sent, shape, name).reshape(shape)


def read_bytes(sent: Sent, shape: Sequence[int], name: str) -> list[bytes]:
    """Raises InvalidRequest."""
    binary = isinstance(sent, memoryview)
    found = list(_split(sent, name)) if isinstance(sent, memoryview) else _flat(sent)
    if len(found) != math.prod(shape):
        raise InvalidRequest(
            f"input {name!r} has {len(found):,} elements; its shape {list(shape)} takes "
            f"{math.prod(shape):,}; send as many as the shape says"
        )
    return found if binary else [_unbase64(text, name, i) for i, text in enumerate(found)]


def to_binary(elements: Elements) -> bytes:
    if isinstance(elements, list):
        return b"".join(_LENGTH.pack(len(element)) + element for element in elements)
    return elements.astype("<f4", copy=False).tobytes()


def to_json(elements: Elements) -> list[Any]:
    """Flat."""
    if isinstance(elements, list):
        return [element.decode() for element in elements]
    return list(elements.ravel().tolist())


def _numbers(sent: list[Any], shape: Sequence[int], name: str) -> NDArray[np.uint8]:
    flat = sent
    for num in shape[1:]:
        if not (flat and isinstance(flat[0], list)):
            break
        if set(map(type, flat)) != {list} or set(map(len, flat)) != {num}:
            raise InvalidRequest(
                f"the lists in `data` of input {name!r} differ from its shape {list(shape)}; "
                "nest them as the shape says, or send one flat list"
            )
        flat = list(chain.from_iterable(flat))
    # The types are looked at here: numpy would take a list with one long text for a huge array.
    if len(flat) == math.prod(shape) and set(map(type, flat)) == {int}:
        try:
            return np.frombuffer(bytes(flat), np.uint8)
        except ValueError:
            pass
    raise InvalidRequest(
        f"`data` of input {name!r} is not what its shape {list(shape)} and datatype UINT8 say; "
        f"send {math.prod(shape):,} whole numbers from 0 to 255"
    )


def _split(sent: memoryview, name: str) -> Iterator[bytes]:
    start = 0
    while start < len(sent):
        left = len(sent) - start - _LENGTH.size
        length = _LENGTH.unpack_from(sent, start)[0] if left >= 0 else 0
        if length > left:
            raise InvalidRequest(
                f"the binary data of input {name!r} ends inside an element; send each with its "
                "length in 4 bytes, little-endian, before it"
            )
        start += _LENGTH.size + length
        yield bytes(sent[start - length : start])


def _flat(sent: list[Any]) -> list[Any]:
    """One level of lists is undone: [[a], [b]] is what some clients make of the shape [2, 1]."""
    return [each for item in sent for each in (item if isinstance(item, list) else [item])]


def _unbase64(text: object, name: str, i: int) -> bytes:
    if isinstance(text, str):
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:
            pass
    raise InvalidRequest(
        f"element {i} of input {name!r} is not base64; send it so in JSON, or as binary data"
    )
