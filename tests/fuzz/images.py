"""Fuzz the decoding of images. Whatever the bytes are, they decode or are refused by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from core.errors import InputError
from core.inputs.kind import Limits
from core.inputs.pixels.decoding import PixelSpec, decode, size_of
from core.inputs.pixels.fingerprint import fingerprint
from core.inputs.pixels.trailing import without_trailing
from tests.fuzz.target import Target
from tests.support import images

SPEC = PixelSpec(size_px=32)
# Small, so that a second of decoding is a fault.
LIMITS = Limits(max_pixels=1_000_000)
_LOSSLESS = ("PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "AVIF")
_MODES = ("1", "L", "P", "RGBA", "CMYK", "I;16", "F")


def check(image: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of odd files
        _check(image)


def _check(image: bytes) -> None:
    kept = without_trailing(image)
    assert image.startswith(kept)
    try:
        pixels_HWC = decode(image, SPEC, LIMITS)
    except InputError:
        return
    assert pixels_HWC.shape == (32, 32, 3)
    width, height = size_of(image, LIMITS)
    assert 0 < width * height <= LIMITS.max_pixels
    fingerprint(image, LIMITS)
    if len(kept) < len(image):
        assert np.array_equal(decode(kept, SPEC, LIMITS), pixels_HWC), "what is kept differs"


def seeds() -> Iterator[bytes]:
    scene = images.scene(40, 24)
    for format in _LOSSLESS:
        yield images.encode(scene, format)
    for mode in _MODES:
        yield images.encode(scene.convert(mode.replace("I;16", "I")).convert(mode), "TIFF")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield images.encode(scene, "TIFF", compression=compression)
    yield images.encode(scene.convert("1"), "TIFF", compression="group4")
    yield images.jpeg(40, 24)
    yield images.jpeg(40, 24, progressive=True)
    yield images.jpeg(40, 24, restart_marker_blocks=2)
    yield images.jpeg(40, 24) + b"and a video behind it"
    yield images.many_scans(30)
    yield images.cmyk(40, 24)
    yield images.sixteen_bit(width=16, height=8)
    yield images.palette_transparent(16, 8)
    yield images.animated_gif(16, 8)
    yield images.exif_rotated(scene, 6, "JPEG")
    yield images.exif_rotated(scene, 5)
    yield images.png(40, 24) + bytes(40)


TARGET = Target(check, seeds)
