"""The images of the state machine, by name."""

from __future__ import annotations

from functools import cache

from PIL import Image

from core.store.blobs import sha256
from tests.support import images

NUM_SCENES = 20
# Each scene comes twice: as PNG, and as a JPEG that is a near-duplicate of it.
NAMES = [f"{k}.{ending}" for k in range(NUM_SCENES) for ending in ("png", "jpg")]


@cache
def content(name: str) -> bytes:
    number, ending = name.split(".")
    colour = ("red", "blue", "green")[int(number) % 3]
    scene = images.scene(96, 64, int(number))
    scene = Image.blend(scene, Image.new("RGB", scene.size, colour), 0.6)
    return images.encode(scene, "PNG") if ending == "png" else images.encode(scene, "JPEG")


@cache
def names() -> dict[str, str]:
    """The names of the images, by digest."""
    return {sha256(content(name)): name for name in NAMES}
