"""Small images made in memory. The same seed gives the same image."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageDraw

# By EXIF orientation: how an upright image is turned so that the orientation turns it back.
_UNDO = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def scene(width: int = 320, height: int = 240, seed: int = 0) -> Image.Image:
    """A photo-like RGB picture: a sky of gradients, shapes with edges, and sensor noise."""
    rng = np.random.default_rng(seed)
    sky = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    im = sky.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(im)
    for _ in range(12):
        x, y = rng.uniform(-0.1, 0.9, 2) * (width, height)
        w, h = rng.uniform(0.05, 0.4, 2) * (width, height)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + w, y + h), fill=tuple(rng.integers(0, 256, 3).tolist()))
    noise = rng.normal(0, 4, (height, width, 1)).astype(np.float32)
    return Image.fromarray(np.clip(np.asarray(im) + noise, 0, 255).astype(np.uint8))


def encode(im: Image.Image, format: str, **options: Any) -> bytes:
    out = BytesIO()
    im.save(out, format, **options)
    return out.getvalue()


def jpeg(width: int = 320, height: int = 240, seed: int = 0, **options: Any) -> bytes:
    return encode(scene(width, height, seed), "JPEG", **{"quality": 90, **options})


def many_scans(num_scans: int, width: int = 64, height: int = 64) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    whole = jpeg(width, height, progressive=True)
    last = whole.rindex(b"\xff\xda")
    num_own = whole.count(b"\xff\xda")
    return whole[:last] + whole[last:-2] * (num_scans - num_own + 1) + whole[-2:]


def png(width: int = 320, height: int = 240, seed: int = 0) -> bytes:
    return encode(scene(width, height, seed), "PNG", compress_level=1)


def exif_rotated(upright: Image.Image, orientation: int, format: str = "PNG") -> bytes:
    """`upright` stored turned, with the EXIF orientation (1 to 8) that turns it back."""
    undo = _UNDO[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = upright if undo is None else upright.transpose(undo)
    return encode(stored, format, exif=exif)


def cmyk(width: int = 320, height: int = 240, seed: int = 0) -> bytes:
    return encode(scene(width, height, seed).convert("CMYK"), "JPEG", quality=95)


def sixteen_bit(format: str = "PNG", width: int = 64, height: int = 64) -> bytes:
    """Grey rising from 0 at the left to 65,535 at the right."""
    row = np.linspace(0, 65535, width).round().astype(np.uint16)
    return encode(Image.fromarray(np.tile(row, (height, 1))), format)


def palette_transparent(width: int = 64, height: int = 64) -> bytes:
    """A palette PNG: left half transparent black, right half opaque red."""
    im = Image.new("P", (width, height), 0)
    im.putpalette([0, 0, 0, 255, 0, 0])
    im.paste(1, (width // 2, 0, width, height))
    return encode(im, "PNG", transparency=0)


def animated_gif(width: int = 64, height: int = 64) -> bytes:
    """Two frames: green, then blue."""
    green, blue = (Image.new("RGB", (width, height), c) for c in ((0, 255, 0), (0, 0, 255)))
    return encode(green, "GIF", save_all=True, append_images=[blue])


def truncated(image: bytes, fraction: float = 0.5) -> bytes:
    return image[: int(len(image) * fraction)]


def bomb_png(width: int = 100_000, height: int = 100_000, num_rows: int = 1_000) -> bytes:
    """A one-bit PNG that declares width x height pixels and holds `num_rows` blank rows."""
    pack = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    rows = b"".join(pack.compress(row) for _ in range(num_rows)) + pack.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


@cache
def twenty_thousand_square() -> bytes:
    """A complete PNG of 20,000 x 20,000 black pixels in about 50 kB."""
    return bomb_png(20_000, 20_000, num_rows=20_000)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
