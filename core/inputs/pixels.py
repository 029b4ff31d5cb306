"""Decoding: the bytes of an image file -> uint8 pixels_HWC.

Training, serving, embedding and evaluation all call `decode`, so their pixels cannot differ.
Normalisation is not done here. It is part of each backbone's graph.

H, W pixels; C channels (red, green, blue).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from core.errors import ImageTooLarge, InputError, SpecMismatch, UndecodableImage
from core.inputs import colours, formats, jpeg_end, jpeg_work, work
from core.inputs.formats import FORMATS

RESIZE = "bilinear, antialiased"

# A JPEG is decoded at 1/2, 1/4 or 1/8 if its square stays this many times as large as the target.
# Measured against full decoding, Pillow 13.0, one core of an AMD EPYC, as mean (99th percentile)
# absolute difference in grey levels:
#   4000 x 3000 scene -> 96 px    0.28 (1)   126 -> 29 ms
#   1600 x 1067 scene -> 96 px    0.26 (2)    11 -> 5.5 ms
#   640 x 427 photographs -> 96   0.36 (2) and 0.67 (4); keeping only 1: 1.2 (10) and 2.1 (13)
MIN_OVERSAMPLING = 2

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS = {5, 6, 7, 8}

# How colours become red, green and blue:
#   1: as the file stores them. Grey in 16 bits is white at 65535.
#   2: colour profiles are honoured, grey in 16 bits may have a lower white point, and a bitmap
#      whose alpha is zero everywhere is opaque (`colours.py`).
# A backbone keeps the rules of its first version, because its head was trained on those pixels.
RULES = (1, 2)


@dataclass(frozen=True, slots=True)
class PixelSpec:
    """Keep the centre square, then resize it to size_px x size_px, bilinear with antialiasing.

    The square's side is `crop_fraction` (0 to 1) of the image's short side.
    `rules` is one of RULES.
    """

    size_px: int = 144
    crop_fraction: float = 1.0
    rules: int = RULES[-1]

    def to_json(self) -> dict[str, Any]:
        fields = {**asdict(self), "resize": RESIZE}
        if self.rules == 1:  # the spec of versions from before there were rules
            del fields["rules"]
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> PixelSpec:
        """Raises SpecMismatch if `fields` asks for pixels that this code does not make."""
        try:
            size_px, crop_fraction = int(fields["size_px"]), float(fields["crop_fraction"])
            spec = cls(size_px, crop_fraction, int(fields.get("rules", 1)))
        except (KeyError, TypeError, ValueError) as error:
            raise SpecMismatch(f"the pixel spec {fields} is not complete: {error!r}") from error
        is_in_range = spec.size_px >= 1 and 0 < spec.crop_fraction <= 1 and spec.rules in RULES
        if spec.to_json() != fields or not is_in_range:
            raise SpecMismatch(
                f"the pixel spec {fields} is not one this release makes; it makes "
                f"{PixelSpec().to_json()}, with any size_px >= 1, 0 < crop_fraction <= 1 and rules "
                f"of {RULES}"
            )
        return spec


@dataclass(frozen=True, slots=True)
class Limits:
    max_pixels: int = 50_000_000


def decode(image: bytes, spec: PixelSpec, limits: Limits = Limits()) -> NDArray[np.uint8]:
    """Read an image as it is displayed. Returns pixels_HWC, contiguous, its own memory.

    Transparent pixels are blended with white. Of an animation, the first frame is read.
    Raises UndecodableImage. Raises ImageTooLarge and ImageTooCostly before any pixel is decoded.
    """
    with _raising_input_errors(image, limits):
        im = _open(image, limits)
        orientation = _orientation(im)  # before load, which closes the file
        profile = im.info.get("icc_profile") if spec.rules >= 2 else None
        im, (width, height) = _load(im, image, spec)
        square = _centre_square(width, height, spec.crop_fraction)
        size = (spec.size_px, spec.size_px)
        averageable = _to_averageable_mode(im, spec.rules, keep_cmyk=profile is not None)
        is_deep = spec.rules >= 2 and averageable.mode == "I"
        white = colours.white_level(averageable, im) if is_deep else colours.WHITE_16_BITS
        small = averageable.resize(size, Image.Resampling.BILINEAR, box=square)
        # Transposing last is cheap, because the image is small, and allowed, because the square is
        # symmetric. Compared with transposing first, mirrored and half-turned images are equal.
        # Quarter turns differ by at most 1 level (mean 0.17): the resize rounds between its passes.
        # Colours too: converting them after averaging costs a hundredth.
        small = _to_rgb(small, white, profile)
        if orientation in _TRANSPOSES:
            small = small.transpose(_TRANSPOSES[orientation])
        return np.array(small)


def size_of(image: bytes, limits: Limits = Limits()) -> tuple[int, int]:
    """Return the displayed (width, height), from the header alone. Raises as `decode` does."""
    with _raising_input_errors(image, limits):
        im = _open(image, limits)
        width, height = im.size
        return (height, width) if _orientation(im) in _QUARTER_TURNS else (width, height)


@contextmanager
def _raising_input_errors(image: bytes, limits: Limits) -> Iterator[None]:
    """Turn what Pillow raises into input errors, whose messages quote nothing of the body."""
    try:
        yield
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow's own checks beyond the header: a GIF frame larger than its screen, or more pixels
        # than Pillow reads from any WebP or TIFF, whatever `limits` allows.
        raise ImageTooLarge(
            f"the image has more than {Image.MAX_IMAGE_PIXELS:,} pixels; "
            f"the limit is {limits.max_pixels:,}; send a smaller copy"
        ) from error
    except Exception as error:
        # Pillow's readers raise nearly any exception on hostile bytes: OSError, SyntaxError,
        # ValueError, struct.error, zlib.error, EOFError, KeyError, AssertionError, MemoryError, ...
        raise UndecodableImage(
            f"the body is not a readable image ({formats.describe(image)}); send {FORMATS}"
        ) from error


def _open(image: bytes, limits: Limits) -> ImageFile:
    """Read the header. Raises ImageTooLarge and ImageTooCostly before any pixel is decoded."""
    reader = formats.reader_of(image)
    if reader is None:
        raise UndecodableImage(
            f"the body is not a readable image ({formats.describe(image)}); send {FORMATS}"
        )
    header = work.check_header(reader, image, limits.max_pixels)
    im = reader(BytesIO(image))
    width, height = im.size
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"the image is {width} x {height} = {width * height:,} pixels; "
            f"the limit is {limits.max_pixels:,}; send a smaller copy"
        )
    if header is not None:
        jpeg_work.check_scans(image, header, width * height)
    return im


def _orientation(im: ImageFile) -> int:
    """Return the EXIF orientation that is still to be applied, from 1 (upright) to 8."""
    if isinstance(im, TiffImageFile):
        return (
            1  # Pillow applies it while loading a TIFF, and its size is already the displayed one
        )
    try:
        # Not im.getexif(): for PNG it decodes all pixels to find EXIF data behind them.
        orientation = Image.Image.getexif(im).get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF data is common in valid photos, and viewers ignore it
        return 1
    return orientation if orientation in _TRANSPOSES else 1


def _load(im: ImageFile, image: bytes, spec: PixelSpec) -> tuple[ImageFile, tuple[float, float]]:
    """Decode, a large JPEG at reduced size. Returns the picture with its width and height."""
    try:
        return im, _load_reduced(im, spec)
    except OSError:
        if not isinstance(im, JpegImageFile):
            raise
        whole = jpeg_end.open_whole(image, lambda im: _load_reduced(im, spec))
        if whole is None:
            raise
        return whole, _load_reduced(whole, spec)


def _load_reduced(im: ImageFile, spec: PixelSpec) -> tuple[float, float]:
    least_px = math.ceil(MIN_OVERSAMPLING * spec.size_px / spec.crop_fraction)
    reduced = im.draft("RGB", (least_px, least_px))  # None for all but JPEG; CMYK stays CMYK
    im.load()
    if reduced is None:
        return im.size
    # Fractional if the reduction does not divide the size: then the last pixel is partly padding.
    _, (_, _, width, height) = reduced
    return width, height


def _centre_square(
    width: float, height: float, fraction: float
) -> tuple[float, float, float, float]:
    side = max(fraction * min(width, height), min(1.0, width, height))
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, min(left + side, width), min(top + side, height)


def _to_averageable_mode(im: Image.Image, rules: int, *, keep_cmyk: bool) -> Image.Image:
    """Convert to a mode that can be resized, which averages neighbouring values."""
    if rules >= 2 and isinstance(im, BmpImageFile) and colours.has_empty_alpha(im):
        return im.convert("RGB")
    if keep_cmyk and im.mode == "CMYK":
        return im
    if im.mode.startswith("I;16"):  # Pillow 13.0 resizes I;16B with its bytes swapped
        return im.convert("I")
    if im.mode in colours.DEEP_GREY:
        return im
    if im.has_transparency_data:
        return im.convert("RGBA")
    if im.mode in ("L", "RGB"):  # convert would copy, up to 200 MB
        return im
    return im.convert("L" if im.mode == "1" else "RGB")


def _to_rgb(im: Image.Image, white: int, profile: bytes | None) -> Image.Image:
    if im.mode in colours.DEEP_GREY:
        im = Image.fromarray(colours.to_8_bits(np.asarray(im), white))
    if profile is not None:
        im = colours.to_srgb(im, profile)
    if im.mode == "RGBA":
        im = Image.alpha_composite(Image.new("RGBA", im.size, "white"), im)
    return im.convert("RGB")
