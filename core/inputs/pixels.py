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
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from core.errors import ImageTooLarge, InputError, SpecMismatch, UndecodableImage

RESIZE = "bilinear, antialiased"
FORMATS = "JPEG, PNG, WebP, GIF, BMP or TIFF"

# A JPEG is decoded at 1/2, 1/4 or 1/8 if its square stays this many times as large as the target.
# Measured against full decoding, Pillow 13.0, one core of an AMD EPYC, as mean (99th percentile)
# absolute difference in grey levels:
#   4000 x 3000 scene -> 96 px    0.28 (1)   126 -> 29 ms
#   1600 x 1067 scene -> 96 px    0.26 (2)    11 -> 5.5 ms
#   640 x 427 photographs -> 96   0.36 (2) and 0.67 (4); keeping only 1: 1.2 (10) and 2.1 (13)
MIN_OVERSAMPLING = 2

# The readers are called directly, because the bomb check of Image.open is process-wide: it warns or
# raises before the size is known, and warnings cannot be silenced per thread. Its setting stays as
# it is for other users of Pillow in the process.
# JpegImageFile also reads the main picture of an MPO, the two-picture JPEG of some phones.
_READERS: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"RIFF", WebPImageFile),
    (b"GIF8", GifImageFile),
    (b"BM", BmpImageFile),
    (b"II", TiffImageFile),
    (b"MM", TiffImageFile),
)

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

_DEEP_GREY = ("I", "F")


@dataclass(frozen=True, slots=True)
class PixelSpec:
    """Keep the centre square, then resize it to size_px x size_px, bilinear with antialiasing.

    The square's side is `crop_fraction` (0 to 1) of the image's short side.
    """

    size_px: int = 144
    crop_fraction: float = 1.0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "resize": RESIZE}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> PixelSpec:
        """Raises SpecMismatch if `fields` asks for pixels that this code does not make."""
        try:
            spec = cls(int(fields["size_px"]), float(fields["crop_fraction"]))
        except (KeyError, TypeError, ValueError) as error:
            raise SpecMismatch(f"the pixel spec {fields} is not complete: {error!r}") from error
        if spec.to_json() != fields or spec.size_px < 1 or not 0 < spec.crop_fraction <= 1:
            raise SpecMismatch(
                f"the pixel spec {fields} is not one this release makes; it makes "
                f"{PixelSpec().to_json()}, with any size_px >= 1 and 0 < crop_fraction <= 1"
            )
        return spec


@dataclass(frozen=True, slots=True)
class Limits:
    max_pixels: int = 50_000_000


def decode(image: bytes, spec: PixelSpec, limits: Limits = Limits()) -> NDArray[np.uint8]:
    """Read an image as it is displayed. Returns pixels_HWC, contiguous, its own memory.

    Transparent pixels are blended with white. Of an animation, the first frame is read.
    Raises UndecodableImage. Raises ImageTooLarge before any pixel is decoded.
    """
    with _raising_input_errors(image, limits):
        im = _open(image, limits)
        orientation = _orientation(im)  # before load, which closes the file
        width, height = _load(im, spec)
        square = _centre_square(width, height, spec.crop_fraction)
        size = (spec.size_px, spec.size_px)
        small = _to_averageable_mode(im).resize(size, Image.Resampling.BILINEAR, box=square)
        # Transposing last is cheap, because the image is small, and allowed, because the square is
        # symmetric. Compared with transposing first, mirrored and half-turned images are equal.
        # Quarter turns differ by at most 1 level (mean 0.17): the resize rounds between its passes.
        small = _to_rgb(small)
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
            f"the body is not a readable image ({_describe(image)}); send {FORMATS}"
        ) from error


def _describe(image: bytes) -> str:
    if not image:
        return "it is empty"
    reader = _reader(image)
    name = "unknown format" if reader is None else f"truncated or damaged {reader.format}?"
    return f"{name}, {len(image):,} bytes"


def _reader(image: bytes) -> type[ImageFile] | None:
    return next((reader for magic, reader in _READERS if image.startswith(magic)), None)


def _open(image: bytes, limits: Limits) -> ImageFile:
    """Read the header. Raises ImageTooLarge before any pixel is decoded."""
    reader = _reader(image)
    if reader is None:
        raise UndecodableImage(
            f"the body is not a readable image ({_describe(image)}); send {FORMATS}"
        )
    im = reader(BytesIO(image))
    width, height = im.size
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"the image is {width} x {height} = {width * height:,} pixels; "
            f"the limit is {limits.max_pixels:,}; send a smaller copy"
        )
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


def _load(im: ImageFile, spec: PixelSpec) -> tuple[float, float]:
    """Decode, a large JPEG at reduced size. Returns the width and height of the picture."""
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


def _to_averageable_mode(im: Image.Image) -> Image.Image:
    """Convert to a mode that can be resized, which averages neighbouring values."""
    if im.mode.startswith("I;16"):  # Pillow 13.0 resizes I;16B with its bytes swapped
        return im.convert("I")
    if im.mode in _DEEP_GREY:
        return im
    if im.has_transparency_data:
        return im.convert("RGBA")
    if im.mode in ("L", "RGB"):  # convert would copy, up to 200 MB
        return im
    return im.convert("L" if im.mode == "1" else "RGB")


def _to_rgb(im: Image.Image) -> Image.Image:
    if im.mode == "RGBA":
        im = Image.alpha_composite(Image.new("RGBA", im.size, "white"), im)
    if im.mode in _DEEP_GREY:
        im = Image.fromarray(_to_8_bits(np.asarray(im)))
    return im.convert("RGB")


def _to_8_bits(grey_HW: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale 16-bit, 32-bit or floating-point grey to 8 bits, where Pillow would clip."""
    values_HW: NDArray[np.float64] = np.nan_to_num(
        grey_HW.astype(np.float64), posinf=0.0, neginf=0.0
    )
    low, high = values_HW.min(), values_HW.max()
    if grey_HW.dtype.kind != "f" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    # Other ranges (metres, kelvins, counts) have no known white point: scale their whole range.
    scaled_HW: NDArray[np.float64] = (values_HW - low) / ((high - low) or 1.0) * 255
    return scaled_HW.round().astype(np.uint8)
