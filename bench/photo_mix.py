"""The photos that the speed benches send, generated in memory and equal on every machine.

Four in five are JPEGs: mostly small, some large, one in twenty photos with 12 megapixels. The rest
are PNG and WebP. Gradients, shapes with edges and sensor noise compress about as photos do.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

_NUM_SHAPES = 40


@dataclass(frozen=True, slots=True)
class Photo:
    name: str
    content: bytes
    content_type: str
    # How often it occurs in each round of `request_order`.
    weight: int


# name, width, height, format, options, weight
_MIX: tuple[tuple[str, int, int, str, dict[str, Any], int], ...] = (
    ("JPEG 500 x 375", 500, 375, "JPEG", {"quality": 90}, 12),
    ("JPEG 1600 x 1067", 1600, 1067, "JPEG", {"quality": 85}, 3),
    ("JPEG 4000 x 3000", 4000, 3000, "JPEG", {"quality": 85}, 1),
    ("PNG 500 x 375", 500, 375, "PNG", {"compress_level": 6}, 2),
    ("WebP 500 x 375", 500, 375, "WEBP", {"quality": 85}, 2),
)


def make_photos(largest_px: int = 4000) -> tuple[Photo, ...]:
    """Make the photos of the mix that are at most `largest_px` wide."""
    return tuple(
        Photo(name, encode(scene(width, height, i), kind, **options), f"image/{kind.lower()}", n)
        for i, (name, width, height, kind, options, n) in enumerate(_MIX)
        if width <= largest_px
    )


def describe(photos: tuple[Photo, ...]) -> str:
    total = sum(photo.weight for photo in photos)
    shares = (
        f"{100 * photo.weight / total:.0f} % {photo.name} ({len(photo.content) / 1000:,.0f} kB)"
        for photo in photos
    )
    return ", ".join(shares)


def request_order(photos: tuple[Photo, ...], rounds: int = 50, seed: int = 0) -> tuple[int, ...]:
    """Return indices into `photos`, in rounds that are shuffled one by one.

    Each round holds each photo as often as its weight, so even a short load has the whole mix.
    """
    rng = random.Random(seed)
    one = [i for i, photo in enumerate(photos) for _ in range(photo.weight)]
    return tuple(i for _ in range(rounds) for i in rng.sample(one, len(one)))


def scene(width: int, height: int, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    sky = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    im = sky.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(im)
    for _ in range(_NUM_SHAPES):
        x, y = rng.uniform(-0.1, 0.9, 2) * (width, height)
        w, h = rng.uniform(0.02, 0.3, 2) * (width, height)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + w, y + h), fill=tuple(rng.integers(0, 256, 3).tolist()))
    noise_HW1 = rng.normal(0, 4, (height, width, 1)).astype(np.float32)
    return Image.fromarray(np.clip(np.asarray(im) + noise_HW1, 0, 255).astype(np.uint8))


def encode(im: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    im.save(buffer, kind, **options)
    return buffer.getvalue()
