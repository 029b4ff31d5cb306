"""An image that costs far more than its size and pixels say is refused before it is decoded."""

from __future__ import annotations

import struct
import time
import zlib

import pytest

from core.errors import ImageTooCostly, ImageTooLarge
from core.inputs.kind import Limits
from core.inputs.pixels import jpeg_work, tiff_work, work
from core.inputs.pixels.decoding import PixelSpec, decode, size_of
from core.inputs.pixels.formats import reader_of
from tests.support import images

SPEC = PixelSpec()


def _with_segments(segment: bytes, count: int) -> bytes:
    whole = images.jpeg(64, 64)
    return whole[:2] + segment * count + whole[2:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def _png_of_chunks(count: int) -> bytes:
    whole = images.png(64, 64)
    return whole[:33] + _chunk(b"tEXt", b"a\0b") * count + whole[33:]


def _gif_of_blocks(count: int) -> bytes:
    whole = images.encode(images.scene(64, 64).convert("P"), "GIF")
    at = 13 + (3 << (whole[10] & 7) + 1)
    return whole[:at] + b"!\xfe" + b"\x01a" * count + b"\0" + whole[at:]


def _bitmap_of_runs(num_bytes: int) -> bytes:
    size = struct.pack("<LLLHHLL", 40, 64, 64, 1, 8, 1, num_bytes)
    head = size + struct.pack("<LLLL", 0, 0, 256, 0) + bytes(1024)
    runs = ((b"\x01\x07" * 64 + b"\0\0") * 64 + b"\0\1").ljust(num_bytes, b"\0")
    return b"BM" + struct.pack("<LLL", 14 + len(head) + len(runs), 0, 14 + len(head)) + head + runs


def _tiff(entries: list[tuple[int, int, int, int]], data: bytes = b"") -> bytes:
    """Little-endian, with these entries (tag, type, count, value or offset); data at 4,000."""
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHLL", *entry) for entry in sorted(entries)) + bytes(4)
    return (b"II*\0\x08\0\0\0" + directory).ljust(4_000, b"\0") + data


def _tiff_of_strips(count: int, *, compression: int = 1, strip_bytes: int = 1) -> bytes:
    numbers = struct.pack("<L", 4_000) * count + struct.pack("<L", strip_bytes) * count
    shape = [(256, 4, 1, 64), (257, 4, 1, count), (258, 3, 1, 8), (262, 3, 1, 1), (278, 4, 1, 1)]
    strips = [(259, 3, 1, compression), (273, 4, count, 4_000), (279, 4, count, 4_000 + 4 * count)]
    return _tiff(shape + strips, numbers)


def _jpeg_2000(*, tile: int = 64, level_bytes: bytes = b"\x01\x04\x04\x00\x00") -> bytes:
    """Headers of a codestream of 4,096 x 4,096 grey pixels."""
    size = struct.pack(">HLLLLLLLLH3B", 0, 4096, 4096, 0, 0, tile, tile, 0, 0, 1, 7, 1, 1)
    style = struct.pack(">BBHB", int(len(level_bytes) > 5), 0, 1, 0) + level_bytes
    body = b"\xff\x51" + struct.pack(">H", 2 + len(size)) + size
    return b"\xff\x4f" + body + b"\xff\x52" + struct.pack(">H", 2 + len(style)) + style


@pytest.mark.parametrize(
    ("image", "named"),
    [
        (images.many_scans(jpeg_work.MAX_SCANS + 1), "101 scans"),
        (images.many_scans(6_000), "5,000 segments after"),
        (_with_segments(b"\xff\xfe\0\2", jpeg_work.MAX_SEGMENTS + 1), "5,000 segments"),
        (_with_segments(b"\xff\xe1\0\x08Exif\0\0", 101), "100 EXIF segments"),
        (_with_segments(b"\xff", 70_000), "65,536 bytes between"),
        (_with_segments(b"\xff\xed\xea\x60Photoshop" + b"8BIM" * 14_997 + b"abc", 1), "10,000 P"),
        (_png_of_chunks(work.MAX_CHUNKS), "more than 20,000 chunks"),
        (_gif_of_blocks(work.MAX_BLOCKS), "more than 100,000 blocks"),
        (_bitmap_of_runs(work.MAX_RUN_BYTES + 1), "4,000,001 bytes of runs"),
        (_tiff_of_strips(tiff_work.MAX_STRIPS + 1), "100,001 strips"),
        (_tiff_of_strips(1_000, compression=5, strip_bytes=12_000), "12,000,000 bytes"),
        (_tiff([(1_000 + i, 3, 1, 0) for i in range(4_097)]), "4,097 entries"),
        (_jpeg_2000(tile=16), "65,536 tiles"),
        (_jpeg_2000(level_bytes=b"\0\4\4\0\0\0"), "16,777,216 packets"),
        (_jpeg_2000(tile=4096, level_bytes=b"\0\0\0\0\0"), "1,048,576 code blocks"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_costly_image_is_refused_with_its_limit(image: bytes, named: str) -> None:
    started = time.perf_counter()
    with pytest.raises(ImageTooCostly, match=named) as caught:
        decode(image, SPEC)
    assert time.perf_counter() - started < 0.5
    assert "save it" in str(caught.value)
    with pytest.raises(ImageTooCostly):
        size_of(image)


def test_a_tiff_of_many_jpeg_scans_is_refused() -> None:
    shape = [(256, 4, 1, 7_000), (257, 4, 1, 7_000), (259, 3, 1, 7), (273, 4, 1, 4_000)]
    image = _tiff([*shape, (279, 4, 1, 50_000)], images.many_scans(90))
    with pytest.raises(ImageTooCostly, match="90 JPEG scans"):
        decode(image, SPEC)


def test_large_image_may_have_fewer_scans() -> None:
    image = images.many_scans(60)
    header = jpeg_work.check_header(image)
    assert header is not None
    jpeg_work.check_scans(image, header, 10_000_000)
    with pytest.raises(ImageTooCostly, match="60 scans; the limit for 50,000,000 pixels"):
        jpeg_work.check_scans(image, header, 50_000_000)


def test_codestream_larger_than_its_file_says_is_refused() -> None:
    with pytest.raises(ImageTooLarge, match="4096 x 4096"):
        decode(_jpeg_2000(), SPEC, Limits(max_pixels=1_000_000))


@pytest.mark.parametrize(
    "image",
    [
        images.jpeg(64, 64),
        images.jpeg(64, 64, progressive=True),
        images.many_scans(jpeg_work.MAX_SCANS),
        _with_segments(b"\xff\xe2\xff\xff" + bytes(65_533), 200),
        # The thumbnails of a camera are JPEGs with scans of their own.
        _with_segments(b"\xff\xe2\x00\xca" + b"\xff\xda" * 100, 2),
        _png_of_chunks(1_000),
        _gif_of_blocks(10_000),
        _bitmap_of_runs(20_000),
    ],
    ids=lambda image: f"{len(image)} bytes",
)
def test_photo_with_many_parts_is_decoded(image: bytes) -> None:
    assert decode(image, SPEC).shape == (144, 144, 3)


def test_scans_inside_segments_of_a_progressive_photo_do_not_count() -> None:
    whole = images.jpeg(64, 64, progressive=True)
    last = whole.rindex(b"\xff\xda")
    segment = b"\xff\xe2\x01\x92" + b"\xff\xda" * 200
    with_thumbnails = whole[:last] + segment + whole[last:] + whole * 20
    assert (decode(with_thumbnails, SPEC) == decode(whole, SPEC)).all()


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "group4"])
def test_ordinary_tiff_is_decoded(compression: str) -> None:
    mode = "1" if compression == "group4" else "RGB"
    image = images.encode(images.scene().convert(mode), "TIFF", compression=compression)
    assert decode(image, SPEC).shape == (144, 144, 3)


@pytest.mark.parametrize("tile", [(0, 0), (64, 64), (16, 16)])
def test_ordinary_jpeg_2000_is_decoded(tile: tuple[int, int]) -> None:
    options = {"tile_size": tile} if tile[0] else {}
    image = images.encode(images.scene(), "JPEG2000", **options)
    assert decode(image, SPEC).shape == (144, 144, 3)


def test_file_that_ends_anywhere_is_left_to_the_decoder() -> None:
    for format in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "JPEG2000"):
        image = images.encode(images.scene(16, 16), format)
        for length in range(12, 200):
            reader = reader_of(image[:length])
            assert reader is not None
            work.check_header(reader, image[:length], 1_000)
