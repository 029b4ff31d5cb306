"""Fuzz what is read from JSON, from names and from files, each by the first byte of the input."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np

from core import class_names
from core.errors import EvergreenError
from core.inputs.pixels.decoding import PixelSpec
from core.models.manifest import Manifest
from core.models.pretrained.torch_file import read_tensors
from core.models.references import References
from core.predictions import Prediction
from core.store.blobs import sha256
from service.inference.spool import Damaged, Spool
from service.oip import infer, messages
from service.oip.infer import Body
from tests.fuzz.target import Target
from tests.support import tiny

_MAX_BYTES = 1_000_000
_ID = "01a22fea-5f9a-7694-8b68-1f0a4d93f4b3"
_SIZE = 4
_ENCODINGS = ("", "gzip", "deflate", "br")


def check(content: bytes) -> None:
    if content:
        _READERS[content[0] % len(_READERS)](content[1:])


def _infer(content: bytes) -> None:
    """Its encoding, the length of its JSON, and the message."""
    encoding, _, rest = content.partition(b"\n")
    length, _, message = rest.partition(b"\n")
    body = Body(message, _ENCODINGS[len(encoding) % 4], length.decode("latin-1") or None)
    try:
        infer.prepare(body, tiny.plain_manifest(), _MAX_BYTES)
    except EvergreenError:
        return


def _label(content: bytes) -> None:
    try:
        label = class_names.normalise(content.decode(errors="surrogatepass"))
    except (UnicodeDecodeError, EvergreenError):
        return
    assert class_names.normalise(label) == label
    assert class_names.identity(label)
    assert class_names.is_same(label, label.upper().lower()) or not label.isascii()
    label.encode()


def _spooled(content: bytes) -> None:
    spool, folder = _spool()
    path = folder / _ID
    path.write_bytes(content)
    try:
        prediction, image = spool.read(path)
    except Damaged:
        return
    assert (prediction.id, prediction.image) == (_ID, sha256(image))


def _manifest(content: bytes) -> None:
    try:
        manifest = Manifest.from_bytes(content)
    except EvergreenError:
        return
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


def _references(content: bytes) -> None:
    try:
        references = References.from_bytes(content, _SIZE)
    except EvergreenError:
        return
    assert references.are_unfamiliar(np.ones((2, _SIZE), np.float32)).shape == (2,)


def _torch(content: bytes) -> None:
    try:
        read_tensors(content)
    except EvergreenError:
        return


_READERS: tuple[Callable[[bytes], None], ...] = (
    _infer,
    _label,
    _spooled,
    _manifest,
    _references,
    _torch,
)


@cache
def _spool() -> tuple[Spool, Path]:
    folder = Path(tempfile.mkdtemp(prefix="evergreen-fuzz-"))
    return Spool(folder, _MAX_BYTES, 3600), folder


def seeds() -> Iterator[bytes]:
    pixels = {"name": "pixels", "datatype": "UINT8", "shape": [1, 2, 2, 3], "data": [0] * 12}
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["aGVsbG8="]}
    for tensor in (pixels, image):
        yield b"\0\n\n" + json.dumps({"inputs": [tensor], "outputs": [{"name": "label"}]}).encode()
    binary = json.dumps({"inputs": [image | {"parameters": {"binary_data_size": 9}}]}).encode()
    yield b"\0\n%d\n" % len(binary) + binary + b"\5\0\0\0hello"
    yield b"\0x\n\n" + messages.zlib.compress(json.dumps({"inputs": [pixels]}).encode())
    for label in ("cat", "Käse  Brot", "👩‍🚒", "İstanbul", "ſs", "ﬁn"):
        yield b"\1" + label.encode()
    photo = bytes(range(64))
    row = Prediction(_ID, sha256(photo), 1, "cat", 0.9, 0.8, 1.7e9)
    yield b"\2" + json.dumps(asdict(row)).encode() + b"\n" + photo
    yield b"\3" + tiny.plain_manifest(input_spec=PixelSpec(8)).to_bytes()
    basis_DR = np.eye(_SIZE, dtype=np.float32)
    yield b"\4" + References(basis_DR, np.repeat(basis_DR, 3, axis=0), 0.5).to_bytes()
    yield b"\5" + _TORCH


# Five pickles: magic number, protocol, machine, an empty state dict and no keys.
_TORCH = (
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00."
    b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01.\x80\x02]q\x00."
)


TARGET = Target(check, seeds)
