"""Bytes behind an image are not kept, and no byte of the image is lost."""

from __future__ import annotations

import pytest

from core.errors import UndecodableImage
from core.inputs.pixels.decoding import PixelSpec, decode
from core.inputs.pixels.trailing import without_trailing
from tests.support import images

SPEC = PixelSpec()
IMAGES = {
    "baseline": images.jpeg(),
    "progressive": images.jpeg(progressive=True),
    "restarts": images.jpeg(restart_marker_rows=1),
    "thumbnail": images.jpeg()[:2]
    + b"\xff\xe2\x00\x0a\xff\xd9\xff\xda\xff\xd9\0\0"
    + images.jpeg()[2:],
    "png": images.png(),
    "webp": images.encode(images.scene(), "WEBP"),
    "lossless webp": images.encode(images.scene(33, 21), "WEBP", lossless=True),
}
TRAILING = {
    "zeros": bytes(100_000),
    "video": b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40,
    "byte": b"\n",
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("trailing", TRAILING)
def test_what_follows_the_image_is_cut_off(name: str, trailing: str) -> None:
    image = IMAGES[name]
    assert without_trailing(image) == image
    cut = without_trailing(image + TRAILING[trailing])
    assert cut == image
    assert (decode(cut, SPEC) == decode(image + TRAILING[trailing], SPEC)).all()


def test_second_picture_of_a_phone_is_kept() -> None:
    two = images.jpeg(seed=1) + images.jpeg(seed=2)
    assert without_trailing(two) == two


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF", "JPEG2000", "AVIF"])
def test_other_formats_are_kept_whole(format: str) -> None:
    image = images.encode(images.scene(), format) + bytes(100)
    assert without_trailing(image) == image


@pytest.mark.parametrize("name", IMAGES)
def test_image_cut_short_is_kept_as_it_is(name: str) -> None:
    image = IMAGES[name]
    for length in (*range(40), len(image) // 2, len(image) - 1):
        assert without_trailing(image[:length]) == image[:length]


# A fuzzer found it: the last marker ends the file, behind bytes of no segment.
@pytest.mark.parametrize("length", [b"", b"\x00", b"\x00\x02"])
def test_damaged_jpeg_that_ends_with_a_marker_is_kept_as_it_is(length: bytes) -> None:
    image = b"\xff\xd8\xff\x00no segment\xff\xe0" + length
    assert without_trailing(image) == image
    with pytest.raises(UndecodableImage):
        decode(image, SPEC)
