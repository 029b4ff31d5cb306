"""The work that an HEIC or AVIF asks for: pictures that are made of other pictures.

A grid or an overlay names its parts, and a decoder decodes a part as often as it is named. A file
of 11 kB, whose grid of 64 x 64 pixels named a part of 48 million eight times, took 16 seconds.
Boxes are those of ISO/IEC 14496-12, and items those of ISO/IEC 23008-12.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from core.errors import ImageTooCostly

# A phone's photo has some ten boxes on a level, and a hundred parts at most.
MAX_BOXES = 20_000
MAX_PARTS = 4_096
# The parts of a grid reach over its edge, and a picture may come with a gain map and a depth map.
MAX_TIMES = 2
_MAX_DEPTH = 8

# Item -> the items that it is made of, each as often as it is named.
Parts = dict[int, tuple[int, ...]]


def check(image: bytes, max_pixels: int) -> None:
    """Raises ImageTooCostly. What cannot be read is left to the decoder."""
    try:
        meta = b"".join(_find(image, b"meta"))[4:]
        parts = _parts(b"".join(_find(meta, b"iref")))
        areas = _areas(b"".join(_find(meta, b"iprp"))) if parts else {}
    except (struct.error, IndexError):
        return
    known: dict[int, int] = {}
    for item in parts:
        num_pixels = _num_pixels(item, parts, areas, known, _MAX_DEPTH)
        if num_pixels > MAX_TIMES * max_pixels:
            raise ImageTooCostly(
                f"the image is made of parts with {num_pixels:,} pixels; the limit is "
                f"{MAX_TIMES * max_pixels:,}; save it again as one picture"
            )


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    for _ in range(MAX_BOXES):
        if at + 8 > len(content):
            return
        size, kind = struct.unpack_from(">I4s", content, at)
        begin = at + 8
        if size == 1:  # it follows in 64 bits
            (size,) = struct.unpack_from(">Q", content, begin)
            begin += 8
        end = len(content) if size == 0 else at + size
        if end < begin:
            return
        yield kind, content[begin:end] if kind != b"mdat" else b""
        at = end
    raise ImageTooCostly(
        f"the image has more than {MAX_BOXES:,} boxes, which is the limit; save it again"
    )


def _find(content: bytes, wanted: bytes) -> list[bytes]:
    return [box for kind, box in _boxes(content) if kind == wanted]


def _parts(iref: bytes) -> Parts:
    if not iref:
        return {}
    width = "I" if iref[0] else "H"
    parts: Parts = {}
    num_parts = 0
    for box in _find(iref[4:], b"dimg"):
        item, count = struct.unpack_from(f">{width}H", box)
        num_parts += count
        if num_parts > MAX_PARTS:
            raise ImageTooCostly(
                f"the image is made of more than {MAX_PARTS:,} parts, which is the limit; save it "
                "again as one picture"
            )
        named = struct.unpack_from(f">{count}{width}", box, struct.calcsize(f">{width}H"))
        parts[item] = (*parts.get(item, ()), *named)
    return parts


def _areas(iprp: bytes) -> dict[int, int]:
    """Item -> its pixels, as its property `ispe` says. The decoder holds it to that."""
    sizes = [
        struct.unpack_from(">II", box, 4) if kind == b"ispe" else None
        for kind, box in _boxes(b"".join(_find(iprp, b"ipco")))
    ]
    areas: dict[int, int] = {}
    for ipma in _find(iprp, b"ipma"):
        width, is_wide = ("I" if ipma[0] else "H"), ipma[3] & 1
        at = 8
        while at < len(ipma) and len(areas) <= MAX_BOXES:
            item, count = struct.unpack_from(f">{width}B", ipma, at)
            at += struct.calcsize(f">{width}B")
            for property_ in struct.unpack_from(f">{count}{'H' if is_wide else 'B'}", ipma, at):
                index = (property_ & (0x7FFF if is_wide else 0x7F)) - 1
                size = sizes[index] if 0 <= index < len(sizes) else None
                if size is not None:
                    areas[item] = max(areas.get(item, 0), size[0] * size[1])
            at += count * (2 if is_wide else 1)
    return areas


def _num_pixels(
    item: int, parts: Parts, areas: dict[int, int], known: dict[int, int], depth: int
) -> int:
    """Those that are decoded to make the item."""
    if item not in parts:
        return areas.get(item, 0)
    if item not in known:
        if depth == 0:
            raise ImageTooCostly("the image is made of parts in more than 8 levels; save it again")
        known[item] = sum(_num_pixels(part, parts, areas, known, depth - 1) for part in parts[item])
    return known[item]
