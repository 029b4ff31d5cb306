"""Colours of a decoded image: its profile, its white point, and alpha that means nothing.

H, W pixels.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import TiffImageFile

DEEP_GREY = ("I", "F")
WHITE_16_BITS = 65535
# Bits of a sample that cameras and scanners store in 16 bits without scaling.
_SAMPLE_BITS = (8, 10, 12, 14)
# MaxSampleValue (TIFF 6.0) and SMaxSampleValue, by which a file names its own white.
_MAX_SAMPLE_TAGS = (281, 341)
# Profiles of presses have up to 3 MB.
_MAX_PROFILE_BYTES = 4_000_000
_PROFILE_SPACES = {"RGB": "RGB", "RGBA": "RGB", "L": "GRAY", "CMYK": "CMYK"}


def to_srgb(im: Image.Image, profile: bytes) -> Image.Image:
    """Convert to sRGB by an ICC profile. A damaged or unfitting profile is ignored.

    Returns mode RGB, or RGBA for RGBA. An ignored profile, and one of sRGB, leaves `im` as it is.
    """
    if len(profile) > _MAX_PROFILE_BYTES:
        return im
    try:
        transform = _transform(profile, im.mode)
        return im if transform is None else transform.apply(im)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return im


# Building a transform takes 4 ms, and the photos of one phone have the same profile. Threads may
# share a transform, because Little CMS does not change it in use.
@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    if source.profile.xcolor_space.strip() != _PROFILE_SPACES.get(mode):
        return None
    if "sRGB" in (source.profile.profile_description or ""):
        return None
    target = "RGBA" if mode == "RGBA" else "RGB"
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.ImageCmsTransform(source, srgb, mode, target)


def white_level(grey: Image.Image, im: Image.Image) -> int:
    """Return the white of grey in 16 bits: 65535, or less where samples have fewer bits.

    `grey` is the file `im` in mode I. A TIFF may name its largest sample. Otherwise white is the
    largest value of 8, 10, 12, 14 or 16 bits, the fewest that hold every sample.
    """
    _, brightest = grey.getextrema()
    if isinstance(brightest, tuple) or brightest > WHITE_16_BITS:
        return WHITE_16_BITS
    if isinstance(im, TiffImageFile):
        for tag in _MAX_SAMPLE_TAGS:
            named = im.tag_v2.get(tag)
            value = named[0] if isinstance(named, tuple) and named else named
            if isinstance(value, int) and max(brightest, 1) <= value <= WHITE_16_BITS:
                return value
    fitting = (2**bits - 1 for bits in _SAMPLE_BITS if brightest < 2**bits)
    return next(fitting, WHITE_16_BITS)


def has_empty_alpha(im: Image.Image) -> bool:
    """Whether every pixel is transparent: writers of bitmaps often leave the fourth byte zero."""
    return im.mode == "RGBA" and im.getchannel("A").getextrema() == (0, 0)


def to_8_bits(grey_HW: NDArray[Any], white: int = WHITE_16_BITS) -> NDArray[np.uint8]:
    """Scale 16-bit, 32-bit or floating-point grey to 8 bits, where Pillow would clip.

    `white` holds for integers from 0 to 65535.
    """
    values_HW: NDArray[np.float64] = np.nan_to_num(
        grey_HW.astype(np.float64), posinf=0.0, neginf=0.0
    )
    low, high = values_HW.min(), values_HW.max()
    if grey_HW.dtype.kind != "f" and low >= 0 and high <= WHITE_16_BITS:
        low, high = 0.0, float(white)
    # Other ranges (metres, kelvins, counts) have no known white point: scale their whole range.
    scaled_HW: NDArray[np.float64] = (values_HW - low) / ((high - low) or 1.0) * 255
    return scaled_HW.round().astype(np.uint8)
