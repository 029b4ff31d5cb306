"""How much work an image asks for, counted from its headers before any of it is decoded.

The size of a file and its number of pixels bound the work of decoding only in part: a scan, a
chunk or a run of a few bytes can cost as much as a picture. Each format has its own such parts.
The limits lie far above what cameras and programs write.
"""

from __future__ import annotations

import struct

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from core.errors import ImageTooCostly
from core.inputs.pixels import heif_work, jpeg2000_work, jpeg_work, tiff_work

# Pillow reads each in Python, in some 5 us. Programs write IDAT chunks of 8 kB or more.
MAX_CHUNKS = 20_000
# Blocks of a GIF before its first picture, of at most 255 bytes.
MAX_BLOCKS = 100_000
# Pillow decodes the runs of a bitmap in Python; each has at least two bytes.
MAX_RUN_BYTES = 4_000_000


def check_header(reader: type[ImageFile], image: bytes, max_pixels: int) -> jpeg_work.Header | None:
    """Call before `reader`, which reads all parts of a header. Raises ImageTooCostly.

    Returns what `check_scans` needs. What cannot be read is left to the decoder.
    """
    if reader is JpegImageFile:
        return jpeg_work.check_header(image)
    if reader is PngImageFile:
        _check_chunks(image)
    elif reader is GifImageFile:
        _check_blocks(image)
    elif reader is BmpImageFile:
        _check_runs(image)
    elif reader is TiffImageFile:
        tiff_work.check(image)
    elif reader is Jpeg2KImageFile:
        jpeg2000_work.check(image, max_pixels)
    elif image[4:8] == b"ftyp":
        heif_work.check(image, max_pixels)
    return None


def _check_chunks(image: bytes) -> None:
    at, num_chunks = 8, 0
    while at + 8 <= len(image):
        num_chunks += 1
        if num_chunks > MAX_CHUNKS:
            raise ImageTooCostly(
                f"the PNG has more than {MAX_CHUNKS:,} chunks, which is the limit; save it again "
                "with larger ones"
            )
        if image.startswith(b"IEND", at + 4):
            return
        at += 12 + int.from_bytes(image[at : at + 4])


def _check_blocks(image: bytes) -> None:
    """Walk over the extensions before the first picture."""
    flags = image[10] if len(image) > 10 else 0
    at, num_blocks = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0), 0
    while at < len(image):
        num_blocks += 1
        if num_blocks > MAX_BLOCKS:
            raise ImageTooCostly(
                f"the GIF has more than {MAX_BLOCKS:,} blocks before its picture, which is the "
                "limit; save it again without comments"
            )
        introducer = image[at]
        if introducer in b",;":
            return
        at += 1
        if introducer == 0x21:
            at += 1
            while at < len(image) and image[at]:
                at += 1 + image[at]
                num_blocks += 1
                if num_blocks > MAX_BLOCKS:
                    break
            at += 1


def _check_runs(image: bytes) -> None:
    """BI_RLE8 and BI_RLE4, after the BITMAPINFOHEADER of Windows."""
    try:
        start, size = struct.unpack_from("<LL", image, 10)
        (compression,) = struct.unpack_from("<L", image, 30)
    except struct.error:
        return
    num_bytes = len(image) - start
    if size >= 40 and compression in (1, 2) and num_bytes > MAX_RUN_BYTES:
        raise ImageTooCostly(
            f"the compressed bitmap has {num_bytes:,} bytes of runs; the limit is "
            f"{MAX_RUN_BYTES:,}; save it as PNG"
        )
