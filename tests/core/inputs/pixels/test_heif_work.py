"""A picture that is made of others costs what they cost, as often as it names them."""

from __future__ import annotations

import struct
import time

import pytest

from core.errors import ImageTooCostly
from core.inputs.kind import Limits
from core.inputs.pixels import heif_work
from core.inputs.pixels.decoding import PixelSpec, decode, size_of
from tests.support import images

LIMIT = 50_000_000


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def made_of(
    parts: dict[int, list[int]], sizes: dict[int, tuple[int, int]], brand: bytes = b"avif"
) -> bytes:
    """The header of a file with these items, in which an item names its parts."""
    iref = bytes(4) + b"".join(
        box(b"dimg", struct.pack(f">HH{len(named)}H", item, len(named), *named))
        for item, named in parts.items()
    )
    ispe = b"".join(
        box(b"ispe", bytes(4) + struct.pack(">II", width, height))
        for width, height in sizes.values()
    )
    ipma = bytes(4) + struct.pack(">I", len(sizes))
    for index, item in enumerate(sizes, 1):
        ipma += struct.pack(">HBB", item, 1, 0x80 | index)
    iprp = box(b"ipco", ispe) + box(b"ipma", ipma)
    meta = bytes(4) + box(b"iref", iref) + box(b"iprp", iprp)
    return box(b"ftyp", brand + bytes(4) + brand) + box(b"meta", meta) + box(b"mdat", bytes(9))


def test_grid_of_a_camera_is_taken() -> None:
    tiles = list(range(1, 49))
    sizes = {48 + 1: (4032, 3024), **dict.fromkeys(tiles, (512, 512))}
    heif_work.check(made_of({49: tiles}, sizes), LIMIT)
    heif_work.check(images.encode(images.scene(64, 64), "AVIF"), LIMIT)


@pytest.mark.parametrize("brand", [b"avif", b"mif1"])
def test_part_that_is_named_often_counts_as_often(brand: bytes) -> None:
    costly = made_of({2: [1] * 3}, {1: (8000, 6000), 2: (64, 64)}, brand)
    with pytest.raises(ImageTooCostly, match=r"144,000,000 pixels; the limit is 100,000,000"):
        heif_work.check(costly, LIMIT)
    if brand == b"avif":  # whose reader is always there
        for read in (size_of, lambda image, limits: decode(image, PixelSpec(), limits)):
            with pytest.raises(ImageTooCostly):
                read(costly, Limits(LIMIT))


def test_parts_of_parts_multiply() -> None:
    parts = {item: [item + 1] * 10 for item in range(1, 7)}
    with pytest.raises(ImageTooCostly, match="1,000,000,000"):
        heif_work.check(made_of(parts, {7: (40, 25)}), LIMIT)


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ({1: [2], 2: [1]}, "levels"),
        ({i: [i + 1] for i in range(1, 30)}, "levels"),
        ({1: [2] * 5_000}, "4,096 parts"),
    ],
)
def test_parts_without_end_are_refused(parts: dict[int, list[int]], what: str) -> None:
    with pytest.raises(ImageTooCostly, match=what):
        heif_work.check(made_of(parts, {}), LIMIT)


def test_many_boxes_are_refused_soon() -> None:
    image = made_of({}, {}) + box(b"free", b"") * 1_000_000
    started = time.monotonic()
    with pytest.raises(ImageTooCostly, match="20,000 boxes"):
        heif_work.check(image, LIMIT)
    assert time.monotonic() - started < 1


def test_header_that_is_cut_anywhere_is_left_to_the_decoder() -> None:
    whole = made_of({2: [1]}, {1: (64, 64), 2: (64, 64)})
    for end in range(len(whole)):
        heif_work.check(whole[:end], LIMIT)
        heif_work.check(whole[:end] + bytes(end % 40), LIMIT)
