"""Thumbnails, and the media types of images."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from core.errors import ImageTooLarge, UndecodableImage
from core.inputs.kind import DEFAULT_LIMITS, Limits
from core.inputs.pixels import formats
from core.inputs.pixels.thumbnail import is_whole, size_of_thumbnail, thumbnail
from tests.core.inputs.pixels.pixel_measures import JPEG_LEVELS
from tests.support import images

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "JPEG2000": "image/jp2",
}


def made(image: bytes) -> Image.Image:
    content = thumbnail(image, DEFAULT_LIMITS)
    assert is_whole(content)
    opened = Image.open(BytesIO(content))
    assert (opened.format, opened.mode) == ("JPEG", "RGB")
    return opened


@pytest.mark.parametrize("format", MEDIA_TYPES)
def test_thumbnail_shows_the_whole_of_any_format(format: str) -> None:
    scene = images.scene(640, 480)
    small = made(images.encode(scene, format))
    assert small.size == (320, 240)
    wanted = scene.resize((320, 240), Image.Resampling.BILINEAR)
    difference = np.abs(np.asarray(small, np.int16) - np.asarray(wanted, np.int16))
    assert difference.mean() <= JPEG_LEVELS + 4  # a GIF has 256 colours


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_thumbnail_is_upright(orientation: int, format: str) -> None:
    half = Image.new("RGB", (60, 40), "red")
    half.paste("blue", (0, 0, 30, 20))  # the upper left quarter
    small = np.asarray(made(images.exif_rotated(half, orientation, format)), np.int16)
    assert small.shape == (40, 60, 3)
    assert small[5, 5, 2] > 200 > 60 > small[5, 5, 0]
    assert small[35, 55, 0] > 200


def test_transparent_pixels_are_white_and_cmyk_is_not_inverted() -> None:
    clear = Image.new("RGBA", (50, 50), (255, 0, 0, 0))
    assert np.asarray(made(images.encode(clear, "PNG"))).min() > 250
    rgb, cmyk = (np.asarray(made(f(200, 100)), np.int16) for f in (images.png, images.cmyk))
    assert np.abs(rgb - cmyk).mean() <= JPEG_LEVELS + 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), (1, 1)),
        ((320, 7), (320, 7)),
        ((5000, 1), (320, 1)),
        ((100, 1000), (32, 320)),
        ((4000, 3000), (320, 240)),
    ],
)
def test_thumbnail_is_no_larger_than_its_image(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert size_of_thumbnail(*size) == expected
    assert made(images.encode(Image.new("RGB", size), "JPEG")).size == expected


def test_what_cannot_be_read_has_no_thumbnail() -> None:
    with pytest.raises(UndecodableImage):
        thumbnail(b"no image", DEFAULT_LIMITS)
    with pytest.raises(ImageTooLarge):
        thumbnail(images.png(100, 100), Limits(max_pixels=9_999))


@pytest.mark.parametrize(("format", "media_type"), MEDIA_TYPES.items())
def test_media_type_is_that_of_the_content(format: str, media_type: str) -> None:
    image = images.encode(images.scene(40, 30), format)
    assert formats.media_type(image) == media_type


def test_media_type_needs_no_reader() -> None:
    heic = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
    assert formats.media_type(heic) == "image/heic"
    assert formats.media_type(b"\xff\x4f\xff\x51" + bytes(9)) == "image/j2c"
    for other in (b"", b"<svg onload='x'/>", b"\x00\x00\x00\x18ftypisom" + bytes(12)):
        assert formats.media_type(other) == "application/octet-stream"
