"""Real images from a development dependency: scikit-learn's handwritten digits."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SIDE_PX = 64


@dataclass(frozen=True, slots=True)
class Digit:
    image: bytes
    label: str

    @property
    def body(self) -> bytes:
        return self.image

    @property
    def content_type(self) -> str:
        return "image/png"

    def feedback(self) -> dict[str, Any]:
        """The arguments of httpx for a label."""
        return {
            "files": {"image": ("digit.png", self.image, self.content_type)},
            "data": {"label": self.label},
        }


def digits(seed: int = 0) -> list[Digit]:
    """All 1,797, as PNG, shuffled."""
    bunch = load_digits()
    order = np.random.default_rng(seed).permutation(len(bunch.target))
    return [Digit(_png(bunch.images[i]), _NAMES[bunch.target[i]]) for i in order]


def _png(image_HW: np.ndarray) -> bytes:
    """`image_HW` has 16 grey levels at 8 x 8. The PNG is dark on white, and larger."""
    small = Image.fromarray((255 - image_HW * (255 / 16)).astype(np.uint8))
    buffer = io.BytesIO()
    small.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()
