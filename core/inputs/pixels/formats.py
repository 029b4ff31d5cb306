"""Which reader of Pillow reads an image, by its first bytes, and what else a body can be.

The readers are called directly, because the bomb check of Image.open is process-wide: it warns or
raises before the size is known, and warnings cannot be silenced per thread. Its setting stays as
it is for other users of Pillow in the process.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

from PIL import _imaging
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from core.errors import UndecodableImage

FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or JPEG 2000"

# JpegImageFile also reads the main picture of an MPO, the two-picture JPEG of some phones.
_READERS: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"GIF8", GifImageFile),
    (b"BM", BmpImageFile),
    # Either byte order, with the version 42, or 43 for offsets of 64 bits.
    (b"II*\x00", TiffImageFile),
    (b"MM\x00*", TiffImageFile),
    (b"II+\x00", TiffImageFile),
    (b"MM\x00+", TiffImageFile),
    (b"II\x00*", TiffImageFile),  # files of broken writers, which Pillow reads
    (b"MM*\x00", TiffImageFile),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Jpeg2KImageFile),
    (b"\xff\x4f\xff\x51", Jpeg2KImageFile),
)
# Brands of ISO/IEC 14496-12 files: AVIF by the AV1 Image File Format, HEIC by ISO/IEC 23008-12.
# `mif1` and `msf1` say nothing of the codec; the compatible brands do.
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_CODEC_FREE_BRANDS = {b"mif1", b"msf1"}
_UNKNOWN = "application/octet-stream"

# libtiff writes its errors to the standard error of the process, one for each damaged row. They say
# nothing that Pillow's exception does not. A Pillow without libtiff, or one that hides its
# functions, is left as it is.
with suppress(AttributeError, OSError):
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


def reader_of(image: bytes) -> type[ImageFile] | None:
    """Return None for an unknown format. Raises UndecodableImage for HEIC without its extra."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return WebPImageFile
    if brands := _brands(image):
        if brands[0] in _AVIF_BRANDS:
            return AvifImageFile
        if brands[0] in _HEIC_BRANDS:
            return _heic_reader()
        if brands[0] in _CODEC_FREE_BRANDS:
            return AvifImageFile if _AVIF_BRANDS.intersection(brands) else _heic_reader()
        return None
    return next((reader for magic, reader in _READERS if image.startswith(magic)), None)


def media_type(image: bytes) -> str:
    """Of a stored image, for browsers; application/octet-stream if the format is unknown."""
    brands = _brands(image)
    if brands and not _AVIF_BRANDS.intersection(brands):
        is_heic = brands[0] in _HEIC_BRANDS | _CODEC_FREE_BRANDS
        return "image/heic" if is_heic else _UNKNOWN
    reader = reader_of(image)
    if reader is Jpeg2KImageFile:
        return "image/j2c" if image.startswith(b"\xff\x4f") else "image/jp2"
    return _UNKNOWN if reader is None else f"image/{str(reader.format).lower()}"


def describe(image: bytes) -> str:
    """Say what an unreadable body seems to be. Quotes nothing of it."""
    if not image:
        return "it is empty"
    reader = reader_of(image)
    name = _other_name(image) if reader is None else f"truncated or damaged {reader.format}?"
    return f"{name}, {len(image):,} bytes"


def _heic_reader() -> type[ImageFile]:
    try:
        # Imported here: it is optional, because its wheel bundles code under the GPL.
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise UndecodableImage(
            "the image is HEIC, which this installation cannot read; send it as JPEG, or install "
            "the reader on the server with pip install 'evergreen-classifier[heic]'"
        ) from error
    reader: type[ImageFile] = HeifImageFile
    return reader


def _brands(image: bytes) -> list[bytes]:
    """The major brand of an ISO base media file and its compatible brands; [] for others."""
    if image[4:8] != b"ftyp" or len(image) < 12:
        return []
    end = min(int.from_bytes(image[:4], "big"), len(image), 256)
    return [image[8:12], *(image[at : at + 4] for at in range(16, end, 4))]


def _other_name(image: bytes) -> str:
    if image[:4] == b"RIFF":
        return "a RIFF file that is not WebP, such as a sound or a video"
    if image[:2] in (b"II", b"MM"):
        return "it begins as TIFF does, but is not TIFF; some raw formats of cameras do"
    if _brands(image):
        return "an ISO media file that is neither AVIF nor HEIC, such as a video"
    return "unknown format"
