"""What follows an image in its file: padding, a video of a moving photo, or anything else.

No decoder reads it, so it is not kept. JPEG, PNG and WebP say where they end; files of the other
formats are kept whole. So is a JPEG that ends with a second picture, as those of some phones do.
"""

from __future__ import annotations

from core.errors import ImageTooCostly
from core.inputs.pixels import jpeg_work

_END_OF_JPEG = b"\xff\xd9"
_END_OF_PNG = b"\0\0\0\0IEND\xae\x42\x60\x82"


def without_trailing(image: bytes) -> bytes:
    """The image up to its end. It decodes to the same pixels. Any bytes may come in."""
    if image.startswith(b"\xff\xd8\xff"):
        end = None if image.endswith(_END_OF_JPEG) else _end_of_jpeg(image)
    elif image.startswith(b"\x89PNG\r\n\x1a\n"):
        end = None if image.endswith(_END_OF_PNG) else _end_of_png(image)
    elif image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        size = int.from_bytes(image[4:8], "little")
        end = 8 + size + size % 2
    else:
        end = None
    return image if end is None or end >= len(image) else image[:end]


def _end_of_jpeg(image: bytes) -> int | None:
    try:
        header = jpeg_work.check_header(image)
        return None if header is None else jpeg_work.end_of(image, header)
    except ImageTooCostly:
        return None


def _end_of_png(image: bytes) -> int | None:
    at = 8
    while at + 12 <= len(image):
        length = int.from_bytes(image[at : at + 4])
        if image.startswith(b"IEND", at + 4):
            return at + 12 + length
        at += 12 + length
    return None
