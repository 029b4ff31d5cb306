"""An image file, opened, loaded and made red, green and blue.

`pixels.py` makes the pixels that models see of it, and `thumbnail.py` a small picture for people.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from core.errors import ImageTooLarge, InputError, UndecodableImage
from core.inputs.kind import Limits
from core.inputs.pixels import colours, formats, jpeg_end, jpeg_work, work
from core.inputs.pixels.formats import FORMATS

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
QUARTER_TURNS = {5, 6, 7, 8}


@contextmanager
def raising_input_errors(image: bytes, limits: Limits) -> Iterator[None]:
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


def open_image(image: bytes, limits: Limits) -> ImageFile:
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


def orientation_of(im: ImageFile) -> int:
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


def load(
    im: ImageFile, image: bytes, least: tuple[int, int]
) -> tuple[ImageFile, tuple[float, float]]:
    """Decode, a large JPEG at reduced size, but no smaller than `least` (width, height). Returns
    the picture with its width and height."""
    try:
        return im, _load_reduced(im, least)
    except OSError:
        if not isinstance(im, JpegImageFile):
            raise
        whole = jpeg_end.open_whole(image, lambda im: _load_reduced(im, least))
        if whole is None:
            raise
        return whole, _load_reduced(whole, least)


def _load_reduced(im: ImageFile, least: tuple[int, int]) -> tuple[float, float]:
    reduced = im.draft("RGB", least)  # None for all but JPEG; CMYK stays CMYK
    im.load()
    if reduced is None:
        return im.size
    # Fractional if the reduction does not divide the size: then the last pixel is partly padding.
    _, (_, _, width, height) = reduced
    return width, height


def shrink(
    im: Image.Image,
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    profile: bytes | None,
    rules: int,
) -> Image.Image:
    """Resize a box of the picture, bilinear with antialiasing, to red, green and blue in 8 bits.

    `profile` is the file's ICC profile, to honour it. `rules` is one of `pixels.RULES`.
    """
    averageable = _to_averageable_mode(im, rules, keep_cmyk=profile is not None)
    is_deep = rules >= 2 and averageable.mode == "I"
    white = colours.white_level(averageable, im) if is_deep else colours.WHITE_16_BITS
    small = averageable.resize(size, Image.Resampling.BILINEAR, box=box)
    # Converting colours after averaging them costs a hundredth.
    return _to_rgb(small, white, profile)


def upright(im: Image.Image, orientation: int) -> Image.Image:
    """Turn it as EXIF says."""
    transpose = _TRANSPOSES.get(orientation)
    return im if transpose is None else im.transpose(transpose)


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
