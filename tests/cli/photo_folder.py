"""Photos of two classes that are easy to tell apart: reddish and bluish clouds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.images import encode

COLOURS = {"blue": (50, 50, 190), "red": (190, 50, 50)}


def cloud(colour: str, seed: int, size_px: int = 120) -> bytes:
    rng = np.random.default_rng([seed, *COLOURS[colour]])
    blotches = np.clip(rng.normal(COLOURS[colour], 50, (6, 6, 3)), 0, 255).astype(np.uint8)
    im = Image.fromarray(blotches).resize((size_px, size_px), Image.Resampling.BICUBIC)
    return encode(im, "JPEG", quality=92)


def write_photos(folder: Path, per_class: int = 8) -> Path:
    """Write `folder/<colour>/<number>.jpg`. Returns the folder."""
    for colour in COLOURS:
        (folder / colour).mkdir(parents=True)
        for seed in range(per_class):
            (folder / colour / f"{seed}.jpg").write_bytes(cloud(colour, seed))
    return folder


def row_of(name: str, printed: str) -> list[str]:
    """Return the cells of the table row that starts with `name`."""
    return next(line.split() for line in printed.splitlines() if line.split()[:1] == [name])
