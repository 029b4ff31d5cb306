"""A JPEG that lacks only its end marker: its picture is whole, and every viewer shows it.

libjpeg fills missing pixels silently once there is an end marker, so a mere marker would let half
a picture pass. So the file is decoded twice: with the marker, and with other data before it.
A whole picture does not read that data. A picture that lacks some does, and changes.
A progressive JPEG that ends exactly after one of its scans counts as whole, only coarser.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO

from PIL.JpegImagePlugin import JpegImageFile

_END = b"\xff\xd9"
_RESTART_MARKER = re.compile(rb"\xff([\xd0-\xd7])")
# Entropy-coded data. Its first bit is 1, because libjpeg reads zeros where data is missing.
_NOISE = bytes(range(0xAA, 0xEA))


def open_whole(image: bytes, load: Callable[[JpegImageFile], object]) -> JpegImageFile | None:
    """Decode with the end marker added. Returns None if more than the marker is missing.

    `load` decodes an opened file. Raises what Pillow raises.
    """
    image = image.removesuffix(_END[:1])  # a marker cut in its middle
    im = JpegImageFile(BytesIO(image + _END))
    load(im)
    probe = JpegImageFile(BytesIO(image + _NOISE + _next_restart(image) + _NOISE + _END))
    load(probe)
    return im if im.tobytes() == probe.tobytes() else None


def _next_restart(image: bytes) -> bytes:
    """The restart marker that a decoder expects next, if the file has them."""
    last = -1
    for match in _RESTART_MARKER.finditer(image):
        last = match[1][0] - 0xD0
    return bytes((0xFF, 0xD0 + (last + 1) % 8))
