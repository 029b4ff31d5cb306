"""Real images that come with a development dependency: scikit-learn's handwritten digits."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SIDE_PX = 64


@dataclass(frozen=True, slots=True)
class Digit:
    image: bytes
    label: str


def digits(seed: int = 0) -> list[Digit]:
    """All 1,797, as PNG, shuffled."""
    found = load_digits()
    order = np.random.default_rng(seed).permutation(len(found.target))
    return [Digit(_png(found.images[i]), _NAMES[found.target[i]]) for i in order]


def _png(image_HW: np.ndarray) -> bytes:
    """16 grey levels at 8 x 8, dark on white, enlarged as a scanner would show them."""
    small = Image.fromarray((255 - image_HW * (255 / 16)).astype(np.uint8))
    buffer = io.BytesIO()
    small.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()
