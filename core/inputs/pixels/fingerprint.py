"""Near-duplicate fingerprints: which images are copies of one picture.

Re-encoded, resized and EXIF-rotated copies are near-duplicates. Crops and edits are not.
This module compares fingerprints. `core/labelling/examples.py` finds candidates by `bands`.

H, W pixels; C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.inputs.kind import Limits
from core.inputs.pixels.decoding import PixelSpec, decode

THUMB_ROWS, THUMB_COLUMNS = 8, 9
# 72 = 8 x 9, so each pixel of the thumb is the mean of a block of whole pixels.
_SPEC = PixelSpec(size_px=THUMB_ROWS * THUMB_COLUMNS)

# A neighbour counts as lighter if it differs by more than this many grey levels, so noise in flat
# areas sets no bits.
MARGIN_LEVELS = 2
MAX_HAMMING = 3
MAX_MEAN_DIFFERENCE_LEVELS = 4.0

# ITU-R BT.601, in thousandths.
_LUMA_C = np.array([299, 587, 114])


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`thumb` is 72 grey bytes, 8 rows of 9. `bits` is its 64-bit difference hash, unsigned.

    Difference hash: N. Krawetz, "Kind of Like That", 2013.
    """

    thumb: bytes
    bits: int

    @property
    def bands(self) -> tuple[int, int, int, int]:
        """Four 16-bit parts of `bits`, highest first.

        Three flipped bits change at most three parts, so near-duplicates share at least one
        (multi-index hashing: Norouzi, Punjani & Fleet, CVPR 2012).
        """
        b = self.bits
        return (b >> 48, b >> 32 & 0xFFFF, b >> 16 & 0xFFFF, b & 0xFFFF)

    def is_near(self, thumb: bytes) -> bool:
        return is_near_duplicate(from_thumb(thumb), self)


def fingerprint(image: bytes, limits: Limits) -> Fingerprint:
    """Fingerprint the centre square of an image as displayed. Raises as `decode` does."""
    pixels_HWC = decode(image, _SPEC, limits)
    grey_HW = pixels_HWC @ _LUMA_C / 1000
    blocks = grey_HW.reshape(THUMB_ROWS, THUMB_COLUMNS, THUMB_COLUMNS, THUMB_ROWS)
    return from_thumb(blocks.mean(axis=(1, 3)).round().astype(np.uint8).tobytes())


def from_thumb(thumb: bytes) -> Fingerprint:
    """Compute the fingerprint of a stored thumb."""
    rows_HW = np.frombuffer(thumb, np.uint8).reshape(THUMB_ROWS, THUMB_COLUMNS).astype(np.int16)
    is_lighter_HW = np.diff(rows_HW, axis=1) > MARGIN_LEVELS
    return Fingerprint(thumb, int.from_bytes(np.packbits(is_lighter_HW).tobytes(), "big"))


def is_near_duplicate(a: Fingerprint, b: Fingerprint) -> bool:
    """Compare hashes and thumbs. The hash alone would make all flat images near-duplicates."""
    if (a.bits ^ b.bits).bit_count() > MAX_HAMMING:
        return False
    a_levels = np.frombuffer(a.thumb, np.uint8).astype(np.int16)
    b_levels = np.frombuffer(b.thumb, np.uint8).astype(np.int16)
    return bool(np.abs(a_levels - b_levels).mean() <= MAX_MEAN_DIFFERENCE_LEVELS)
