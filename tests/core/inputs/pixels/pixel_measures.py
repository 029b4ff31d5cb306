"""How decoded pixels are compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.inputs.pixels.decoding import PixelSpec, decode

SPEC = PixelSpec(32)
# JPEG at quality 90 to 95, averaged down.
JPEG_LEVELS = 3


def mean_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def flat_colours(image: bytes) -> list[list[int]]:
    """The colours at the left and right edge of the decoded image."""
    out = decode(image, SPEC)
    return [out[16, 0].tolist(), out[16, -1].tolist()]
