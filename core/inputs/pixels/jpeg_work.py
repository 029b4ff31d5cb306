"""How much work a JPEG asks for: segments before its picture, and scans through all its pixels.

A progressive JPEG sends its picture in scans, each of which visits every pixel. A scan may have
75 bytes, so a small file can ask for thousands. Ten are usual, and thorough optimisers write 40.
Segments and scans: ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
from itertools import islice

from core.errors import ImageTooCostly

# A scan costs about 1 ns a pixel before it changes anything, and 3 ns in photos.
MAX_SCAN_PIXELS = 1_000_000_000
MAX_SCANS = 100
# So many scans any image may have, however large.
_ALWAYS_SCANS = 20
# Photos have tens. Depth maps and videos in XMP take hundreds, of 64 kB each.
MAX_SEGMENTS = 5_000
# Pillow joins these segments one by one, and so copies what it has each time.
_MAX_EXIF_SEGMENTS = 100
# Resources of Photoshop; Pillow reads each in Python.
_MAX_RESOURCES = 10_000
# Bytes between segments that belong to none. Pillow skips them one by one.
_MAX_FILL_BYTES = 65_536

_SCAN = re.compile(rb"\xff\xda")
_MARKER = re.compile(rb"\xff[^\x00\xff]")
# Between scans: not the restart markers, which are part of the entropy-coded data.
_MARKER_AFTER_DATA = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_NO_MARKER = (0x00, 0xFF)
_START_OF_SCAN, _END, _EXIF = 0xDA, 0xD9, 0xE1
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xDA)))
_SEQUENTIAL_FRAMES = frozenset((0xC0, 0xC1, 0xC9))
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


# The place of the first scan, and whether it has the whole picture: then libjpeg reads no other.
Header = tuple[int, bool]


def check_header(image: bytes) -> Header | None:
    """Walk from segment to segment, up to the first scan. Returns None if there is no scan.

    Raises ImageTooCostly.
    """
    at, end, num_segments, num_exif, num_fill = 2, len(image), 0, 0, 0
    frame, frame_components, num_frames = 0, b"", 0
    while at + 4 <= end:
        marker = image[at + 1]
        if image[at] != 0xFF or marker in _NO_MARKER:
            found = _MARKER.search(image, at)
            num_fill += (found.start() if found else end) - at
            if num_fill > _MAX_FILL_BYTES:
                raise _too_many(_MAX_FILL_BYTES, "bytes between its segments")
            if found is None:
                break
            at = found.start()
            marker = image[at + 1]
        num_segments += 1
        if num_segments > MAX_SEGMENTS:
            raise _too_many(MAX_SEGMENTS, "segments before its picture")
        if marker in _WITHOUT_LENGTH:
            at += 2
            continue
        if marker == _START_OF_SCAN:
            if image.count(b"8BIM", 0, at) > _MAX_RESOURCES:
                raise _too_many(_MAX_RESOURCES, "Photoshop resources")
            has_all = num_frames == 1 and image[at + 4 : at + 5] == frame_components
            return at, has_all and frame in _SEQUENTIAL_FRAMES and not num_fill
        if marker == _EXIF and image.startswith(b"Exif", at + 4):
            num_exif += 1
            if num_exif > _MAX_EXIF_SEGMENTS:
                raise _too_many(_MAX_EXIF_SEGMENTS, "EXIF segments")
        elif marker in _FRAMES:
            num_frames += 1
            frame, frame_components = marker, image[at + 9 : at + 10]
        # A slice: the file may end inside the length.
        at += 2 + max(int.from_bytes(image[at + 2 : at + 4]), 2)
    return None


def check_scans(image: bytes, header: Header, num_pixels: int) -> None:
    """Raises ImageTooCostly for more scans than an image of so many pixels may have."""
    scans_at, is_one_scan = header
    if is_one_scan:
        return
    limit = max(_ALWAYS_SCANS, min(MAX_SCANS, MAX_SCAN_PIXELS // max(num_pixels, 1)))
    # A quick count first. It counts those in segments too, such as pictures inside the picture.
    if sum(1 for _ in islice(_SCAN.finditer(image, scans_at), limit + 1)) <= limit:
        return
    num_scans, _ = _walk(image, scans_at)
    if num_scans > limit:
        raise ImageTooCostly(
            f"the JPEG has {num_scans:,} scans; the limit for {num_pixels:,} pixels is "
            f"{limit}; save it again as a baseline JPEG, or send a smaller copy"
        )


def end_of(image: bytes, header: Header) -> int | None:
    """Where the first picture ends, after its end marker. None if there is none.

    Raises ImageTooCostly.
    """
    return _walk(image, header[0])[1]


def _walk(image: bytes, at: int) -> tuple[int, int | None]:
    """The number of scans of the first picture, and its end. Raises ImageTooCostly."""
    num_scans, num_segments = 0, 0
    while match := _MARKER_AFTER_DATA.search(image, at):
        num_segments += 1
        if num_segments > MAX_SEGMENTS:
            raise _too_many(MAX_SEGMENTS, "segments after its first scan")
        marker, at = image[match.end() - 1], match.end()
        if marker == _END:
            return num_scans, at
        num_scans += marker == _START_OF_SCAN
        if marker not in _WITHOUT_LENGTH:
            at += max(int.from_bytes(image[at : at + 2]), 2)
    return num_scans, None


def _too_many(limit: int, what: str) -> ImageTooCostly:
    return ImageTooCostly(
        f"the JPEG has more than {limit:,} {what}, which is the limit; save it again without "
        "metadata"
    )
