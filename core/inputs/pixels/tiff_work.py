"""How much work a TIFF asks for: its strips or tiles, and the scans of JPEGs inside.

Pillow itself bounds the values of the directory by the size of the file. TIFF 6.0, section 2.
"""

from __future__ import annotations

import struct
import sys

import numpy as np

from core.errors import ImageTooCostly
from core.inputs.pixels import jpeg_work

# Tiles of 32 x 32 pixels in 100 megapixels, or strips of one row.
MAX_STRIPS = 100_000
MAX_ENTRIES = 4_096
# Strips may overlap in damaged files; libtiff reads each whole.
_MAX_READ = 4
_WIDTH, _HEIGHT, _COMPRESSION = 256, 257, 259
_OFFSETS = (273, 324)
_BYTE_COUNTS = (279, 325)
_JPEG_COMPRESSIONS = (6, 7)
_SIZES = {3: 2, 4: 4, 16: 8, 13: 4}
_Entry = tuple[int, int, int]  # type, count, position of the values


def check(image: bytes) -> None:
    """Raises ImageTooCostly. What cannot be read is left to the decoder."""
    try:
        order, entries = _directory(image)
    except struct.error:
        return
    for tag in _OFFSETS:
        if tag in entries and entries[tag][1] > MAX_STRIPS:
            raise ImageTooCostly(
                f"the TIFF has {entries[tag][1]:,} strips or tiles; the limit is {MAX_STRIPS:,}; "
                "save it again with larger ones, or as PNG"
            )
    compression = _values(image, order, entries.get(_COMPRESSION))
    if not compression or compression[0] == 1:
        return
    for tag in _BYTE_COUNTS:
        num_bytes = sum(_values(image, order, entries.get(tag)))
        if num_bytes > _MAX_READ * len(image) + 1_000_000:
            raise ImageTooCostly(
                f"the strips or tiles of the TIFF have {num_bytes:,} bytes, but the file has "
                f"{len(image):,}; the limit is {_MAX_READ} times the file; save it again"
            )
    if compression[0] in _JPEG_COMPRESSIONS:
        _check_scans(image, order, entries)


def _check_scans(image: bytes, order: str, entries: dict[int, _Entry]) -> None:
    num_pixels = 1
    for tag in (_WIDTH, _HEIGHT):
        num_pixels *= next(iter(_values(image, order, entries.get(tag))), 1)
    num_strips = max(1, *(entries[tag][1] for tag in _OFFSETS if tag in entries), 0)
    num_scans = image.count(b"\xff\xda")
    if num_scans * max(1, num_pixels // num_strips) > jpeg_work.MAX_SCAN_PIXELS:
        raise ImageTooCostly(
            f"the TIFF has {num_scans:,} JPEG scans in {num_strips:,} strips or tiles; the limit "
            f"is {jpeg_work.MAX_SCAN_PIXELS:,} pixels of scans; save it again as PNG"
        )


def _directory(image: bytes) -> tuple[str, dict[int, _Entry]]:
    """The first image's byte order and entries. Raises struct.error, ImageTooCostly."""
    order = "<" if image[:1] == b"I" else ">"
    is_big = 43 in image[2:4]
    entry, size, inline = ("HHQQ", 20, 8) if is_big else ("HHLL", 12, 4)
    (start,) = struct.unpack_from(f"{order}{'Q' if is_big else 'L'}", image, 8 if is_big else 4)
    start = min(start, sys.maxsize)
    (count,) = struct.unpack_from(f"{order}{'Q' if is_big else 'H'}", image, start)
    if count > MAX_ENTRIES:
        raise ImageTooCostly(
            f"the directory of the TIFF has {count:,} entries; the limit is {MAX_ENTRIES:,}; "
            "save it again without metadata"
        )
    start += 8 if is_big else 2
    entries: dict[int, _Entry] = {}
    for at in range(start, min(start + count * size, len(image) - size + 1), size):
        tag, kind, num_values, offset = struct.unpack_from(order + entry, image, at)
        is_inline = num_values * _SIZES.get(kind, 1) <= inline
        position = at + size - inline if is_inline else offset
        # Pillow takes the first of a tag.
        entries.setdefault(tag, (kind, num_values, min(position, len(image))))
    return order, entries


def _values(image: bytes, order: str, entry: _Entry | None) -> list[int]:
    if entry is None or entry[0] not in _SIZES:
        return []
    kind, count, at = entry
    size = _SIZES[kind]
    count = min(count, (len(image) - at) // size)
    values: list[int] = np.frombuffer(image, f"{order}u{size}", count, at).tolist()
    return values
