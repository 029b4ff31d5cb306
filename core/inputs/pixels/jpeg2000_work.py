"""How much work a JPEG 2000 asks for: tiles, packets and code blocks, for each of which OpenJPEG
allocates memory before it reads the first pixel.

Their sizes are in the headers of the codestream and of its tiles: ISO/IEC 15444-1, annex A.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from core.errors import ImageTooCostly, ImageTooLarge

MAX_TILES = 16_384
MAX_PACKETS = 1_000_000
MAX_CODE_BLOCKS = 1_000_000
MAX_COMPONENTS = 16
# Boxes of the file, and markers in the headers. Files have tens, or some for each tile.
_MAX_PARTS = 100_000

_SIZE = b"\xff\x4f\xff\x51"
_CODING_STYLE, _COMPONENT_STYLE = 0x52, 0x53
_START_OF_TILE, _START_OF_DATA, _END = 0x90, 0x93, 0xD9


def check(image: bytes, max_pixels: int) -> None:
    """Raises ImageTooCostly, ImageTooLarge. What cannot be read is left to the decoder."""
    try:
        _check_boxes(image)
        at = image.find(_SIZE)
        if at >= 0:
            _check_codestream(image, at, max_pixels)
    except struct.error:
        return


def _check_boxes(image: bytes) -> None:
    at, num_boxes = 0, 0
    while image[4:8] == b"jP  " and at < len(image):
        num_boxes += 1
        _limit(num_boxes, _MAX_PARTS, "boxes")
        length, kind = struct.unpack_from(">L4s", image, at)
        if length == 1:
            (length,) = struct.unpack_from(">Q", image, at + 8)
        if kind == b"jp2c" or length < 8:
            return
        at += length


def _check_codestream(image: bytes, at: int, max_pixels: int) -> None:
    # Xsiz, Ysiz, XOsiz, YOsiz, XTsiz, YTsiz, XTOsiz, YTOsiz, Csiz
    right, bottom, left, top, tile_w, tile_h, tile_x, tile_y, num_components = struct.unpack_from(
        ">8LH", image, at + 8
    )
    width, height = right - left, bottom - top
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"the image is {width} x {height} = {width * height:,} pixels; "
            f"the limit is {max_pixels:,}; send a smaller copy"
        )
    _limit(num_components, MAX_COMPONENTS, "components")
    tile_w, tile_h = max(tile_w, 1), max(tile_h, 1)
    num_tiles = -(-(right - tile_x) // tile_w) * -(-(bottom - tile_y) // tile_h)
    _limit(num_tiles, MAX_TILES, "tiles")
    tile_w, tile_h = min(tile_w, max(width, 1)), min(tile_h, max(height, 1))
    for style in _styles(image, at + 2, num_components):
        packets, blocks = _parts_of_tile(style, tile_w, tile_h)
        _limit(packets * num_tiles * num_components, MAX_PACKETS, "packets")
        _limit(blocks * num_tiles * num_components, MAX_CODE_BLOCKS, "code blocks")


def _styles(image: bytes, at: int, num_components: int) -> Iterator[tuple[int, bytes]]:
    """The layers, and the fields from the number of levels on, of every coding style."""
    layers = 1
    num_parts, tile_ends = 0, len(image)
    while at + 4 <= len(image):
        num_parts += 1
        _limit(num_parts, _MAX_PARTS, "markers in its headers")
        prefix, marker = image[at], image[at + 1]
        if prefix != 0xFF or marker == _END:
            return
        if marker == _START_OF_DATA:
            at = tile_ends
            continue
        (length,) = struct.unpack_from(">H", image, at + 2)
        if marker == _START_OF_TILE:
            (size,) = struct.unpack_from(">L", image, at + 6)
            tile_ends = at + size if size else len(image)
            if tile_ends <= at:
                return
        elif marker == _CODING_STYLE:
            (layers,) = struct.unpack_from(">H", image, at + 6)
            yield layers, image[at + 9 : at + 2 + length]
        elif marker == _COMPONENT_STYLE:
            skipped = 1 if num_components < 257 else 2
            yield layers, image[at + 5 + skipped : at + 2 + length]
        at += 2 + max(length, 2)


def _parts_of_tile(style: tuple[int, bytes], width: int, height: int) -> tuple[int, int]:
    """The packets and code blocks of one component of a tile, at least."""
    layers, fields = style
    num_levels, log_w, log_h = struct.unpack_from(">3B", fields)
    num_levels = min(num_levels, 32)
    packets = 0
    for level in range(num_levels + 1):
        precinct = fields[5 + level] if len(fields) > 5 + level else 0xFF
        shift = num_levels - level
        columns = -(-width // (1 << (shift + (precinct & 15))))
        rows = -(-height // (1 << (shift + (precinct >> 4))))
        packets += columns * rows * layers
    blocks = -(-width // (1 << (log_w % 16 + 2))) * -(-height // (1 << (log_h % 16 + 2)))
    return packets, blocks


def _limit(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise ImageTooCostly(
            f"the JPEG 2000 has {count:,} {what}; the limit is {limit:,}; save it again as JPEG "
            "or PNG"
        )
