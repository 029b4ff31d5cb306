"""Decoding: the bytes of an image file -> uint8 pixels_HWC.

Training, serving, embedding and evaluation all call `decode`, so their pixels cannot differ.
Normalisation is not done here. It is part of each backbone's graph.

H, W pixels; C channels (red, green, blue).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from core.errors import SpecMismatch
from core.inputs.kind import DEFAULT_LIMITS, Array, Decoded, Limits
from core.inputs.pixels import picture

RESIZE = "bilinear, antialiased"

# A JPEG is decoded at 1/2, 1/4 or 1/8 if its square stays this many times as large as the target.
# Measured against full decoding, Pillow 13.0, one core of an AMD EPYC, as mean (99th percentile)
# absolute difference in grey levels:
#   4000 x 3000 scene -> 96 px    0.28 (1)   126 -> 29 ms
#   1600 x 1067 scene -> 96 px    0.26 (2)    11 -> 5.5 ms
#   640 x 427 photographs -> 96   0.36 (2) and 0.67 (4); keeping only 1: 1.2 (10) and 2.1 (13)
MIN_OVERSAMPLING = 2

# How colours become red, green and blue:
#   1: as the file stores them. Grey in 16 bits is white at 65535.
#   2: colour profiles are honoured, grey in 16 bits may have a lower white point, and a bitmap
#      whose alpha is zero everywhere is opaque (`colours.py`).
# A backbone keeps the rules of its first version, because its head was trained on those pixels.
RULES = (1, 2)


@dataclass(frozen=True, slots=True)
class PixelSpec:
    """Keep the centre square, then resize it to size_px x size_px, bilinear with antialiasing.

    The square's side is `crop_fraction` (0 to 1) of the image's short side.
    `rules` is one of RULES.
    """

    key: ClassVar[str] = "pixels"

    size_px: int = 144
    crop_fraction: float = 1.0
    rules: int = RULES[-1]

    def to_json(self) -> dict[str, Any]:
        fields = {**asdict(self), "resize": RESIZE}
        if self.rules == 1:  # the spec of versions from before there were rules
            del fields["rules"]
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> PixelSpec:
        """Raises SpecMismatch if `fields` asks for pixels that this code does not make."""
        try:
            size_px, crop_fraction = int(fields["size_px"]), float(fields["crop_fraction"])
            spec = cls(size_px, crop_fraction, int(fields.get("rules", 1)))
        except (KeyError, TypeError, ValueError) as error:
            raise SpecMismatch(f"the pixel spec {fields} is not complete: {error!r}") from error
        is_in_range = spec.size_px >= 1 and 0 < spec.crop_fraction <= 1 and spec.rules in RULES
        if spec.to_json() != fields or not is_in_range:
            raise SpecMismatch(
                f"the pixel spec {fields} is not one this release makes; it makes "
                f"{PixelSpec().to_json()}, with any size_px >= 1, 0 < crop_fraction <= 1 and rules "
                f"of {RULES}"
            )
        return spec

    def reader(self, metadata: Mapping[str, str]) -> PixelReader:
        return PixelReader(self)

    def golden(self, seed: int) -> NDArray[np.uint8]:
        """Noise, shape [1, size, size, 3], the same on every machine.

        It is the raw bit stream. A numpy Generator may change what it makes of that between
        releases (NEP 19).
        """
        num = self.size_px * self.size_px * 3
        raw = np.random.PCG64(seed).random_raw(-(-num // 8)).astype("<u8")
        return raw.view(np.uint8)[:num].reshape(1, self.size_px, self.size_px, 3)

    def problem_of(self, batch: Array) -> str | None:
        shape, side = batch.shape, self.size_px
        if shape[1:] == (side, side, 3) and shape[0] and batch.dtype == np.uint8:
            return None
        return (
            f"pixels of the shape {shape} and type {batch.dtype} do not fit; send uint8 of the "
            f"shape [B, {side}, {side}, 3]"
        )

    def tensor_shape(self) -> tuple[int, ...]:
        return (self.size_px, self.size_px, 3)


@dataclass(frozen=True, slots=True)
class PixelReader:
    """Decodes images as one spec says."""

    spec: PixelSpec

    def decode(self, content: bytes, limits: Limits = DEFAULT_LIMITS) -> Decoded:
        """Raises as the function `decode` does."""
        return Decoded(decode(content, self.spec, limits))


def decode(image: bytes, spec: PixelSpec, limits: Limits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Read an image as it is displayed. Returns pixels_HWC, contiguous, its own memory.

    Transparent pixels are blended with white. Of an animation, the first frame is read.
    Raises UndecodableImage. Raises ImageTooLarge and ImageTooCostly before any pixel is decoded.
    """
    with picture.raising_input_errors(image, limits):
        im = picture.open_image(image, limits)
        orientation = picture.orientation_of(im)  # before load, which closes the file
        profile = im.info.get("icc_profile") if spec.rules >= 2 else None
        least_px = math.ceil(MIN_OVERSAMPLING * spec.size_px / spec.crop_fraction)
        im, (width, height) = picture.load(im, image, (least_px, least_px))
        square = _centre_square(width, height, spec.crop_fraction)
        size = (spec.size_px, spec.size_px)
        # Transposing last is cheap, because the image is small, and allowed, because the square is
        # symmetric. Compared with transposing first, mirrored and half-turned images are equal.
        # Quarter turns differ by at most 1 level (mean 0.17): the resize rounds between its passes.
        small = picture.shrink(im, size, square, profile, spec.rules)
        return np.array(picture.upright(small, orientation))


def size_of(image: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Return the displayed (width, height), from the header alone. Raises as `decode` does."""
    with picture.raising_input_errors(image, limits):
        im = picture.open_image(image, limits)
        width, height = im.size
        is_turned = picture.orientation_of(im) in picture.QUARTER_TURNS
        return (height, width) if is_turned else (width, height)


def _centre_square(
    width: float, height: float, fraction: float
) -> tuple[float, float, float, float]:
    side = max(fraction * min(width, height), min(1.0, width, height))
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, min(left + side, width), min(top + side, height)
