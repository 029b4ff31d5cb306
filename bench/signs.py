"""Drawn road signs: pictures with classes that people know, from nothing but code."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

_SIDE = 320
_DRAWN_AT = 2  # drawn larger, then reduced: smooth edges

_RED, _BLUE, _WHITE, _BLACK = (196, 30, 36), (22, 78, 160), (246, 246, 244), (24, 24, 26)
_YELLOW = (250, 200, 30)

_Canvas = ImageDraw.ImageDraw
_Point = tuple[float, float]


def _polygon(num: int, radius: float, turn: float = 0.0) -> list[_Point]:
    """The corners of a regular polygon around the middle of the sign."""
    angles = [turn + 2 * math.pi * k / num for k in range(num)]
    return [(256 + radius * math.cos(a), 256 + radius * math.sin(a)) for a in angles]


def _disc(canvas: _Canvas, radius: float, colour: tuple[int, int, int]) -> None:
    canvas.ellipse((256 - radius, 256 - radius, 256 + radius, 256 + radius), fill=colour)


def _text(canvas: _Canvas, text: str, size: int, colour: tuple[int, int, int]) -> None:
    canvas.text((256, 256), text, fill=colour, font=ImageFont.load_default(size), anchor="mm")


def _stop(canvas: _Canvas) -> None:
    canvas.polygon(_polygon(8, 240, math.pi / 8), fill=_WHITE)
    canvas.polygon(_polygon(8, 222, math.pi / 8), fill=_RED)
    _text(canvas, "STOP", 140, _WHITE)


def _give_way(canvas: _Canvas) -> None:
    canvas.polygon(_polygon(3, 240, math.pi / 2), fill=_RED)
    canvas.polygon(_polygon(3, 158, math.pi / 2), fill=_WHITE)


def _no_entry(canvas: _Canvas) -> None:
    _disc(canvas, 236, _WHITE)
    _disc(canvas, 222, _RED)
    canvas.rectangle((96, 220, 416, 292), fill=_WHITE)


def _limit(number: str) -> Callable[[_Canvas], None]:
    def draw(canvas: _Canvas) -> None:
        _disc(canvas, 236, _RED)
        _disc(canvas, 180, _WHITE)
        _text(canvas, number, 220, _BLACK)

    return draw


def _priority(canvas: _Canvas) -> None:
    canvas.polygon(_polygon(4, 244), fill=_WHITE)
    canvas.polygon(_polygon(4, 190), fill=_YELLOW)


def _ahead(canvas: _Canvas) -> None:
    _disc(canvas, 236, _WHITE)
    _disc(canvas, 224, _BLUE)
    canvas.rectangle((226, 220, 286, 410), fill=_WHITE)
    canvas.polygon([(256, 90), (156, 236), (356, 236)], fill=_WHITE)


SIGNS: dict[str, Callable[[_Canvas], None]] = {
    "stop": _stop,
    "give way": _give_way,
    "no entry": _no_entry,
    "limit 30": _limit("30"),
    "limit 50": _limit("50"),
    "priority road": _priority,
    "straight ahead": _ahead,
}

# The sky, a wood, a wall, dusk: above and below the horizon.
_PLACES = (
    ((150, 190, 226), (112, 132, 92)),
    ((96, 122, 88), (74, 82, 58)),
    ((186, 176, 162), (134, 128, 120)),
    ((96, 86, 112), (54, 54, 62)),
)


def sign(name: str, seed: int) -> bytes:
    """A photo of the sign as PNG: place, size, tilt, light and noise are by the seed."""
    rng = np.random.default_rng((seed, *name.encode()))
    side = _SIDE * _DRAWN_AT
    photo = _place(rng, side)
    board = Image.new("RGBA", (512, 512), (0, 0, 0, 0))
    SIGNS[name](ImageDraw.Draw(board))
    size = int(side * rng.uniform(0.38, 0.8))
    board = board.resize((size, int(size * rng.uniform(0.86, 1.0))), Image.Resampling.LANCZOS)
    board = board.rotate(rng.uniform(-14, 14), Image.Resampling.BICUBIC, expand=True)
    x = int((side - board.width) * rng.uniform(0.2, 0.8))
    y = int((side - board.height) * rng.uniform(0.1, 0.7))
    pole_x = x + board.width // 2
    ImageDraw.Draw(photo).rectangle(
        (pole_x - side // 60, y + board.height // 2, pole_x + side // 60, side),
        fill=(138, 140, 142),
    )
    photo.paste(board, (x, y), board)
    photo = photo.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    photo = photo.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.4)))
    light_HWC = np.asarray(photo, np.float32) * rng.uniform(0.55, 1.15)
    noisy_HWC = np.clip(light_HWC + rng.normal(0, 5, light_HWC.shape), 0, 255)
    buffer = io.BytesIO()
    Image.fromarray(noisy_HWC.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _place(rng: np.random.Generator, side: int) -> Image.Image:
    above, below = _PLACES[rng.integers(len(_PLACES))]
    photo = Image.new("RGB", (side, side), above)
    canvas = ImageDraw.Draw(photo)
    horizon = int(side * rng.uniform(0.55, 0.85))
    canvas.rectangle((0, horizon, side, side), fill=below)
    for _ in range(14):
        x, y, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0.04, 0.16) * side
        ground = above if y < horizon else below
        change = rng.normal(0, 14)
        shade = tuple(int(max(0, min(255, c + change))) for c in ground)
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shade)
    return photo.filter(ImageFilter.GaussianBlur(side / 60))
