"""The images of a distillation, decoded once into one array on disk.

Pixels come from `core.inputs.pixels.decoding`, as everywhere.

N images, H/W pixels, C channels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError, InvalidRequest
from core.inputs.pixels.decoding import PixelSpec, decode
from core.system.files import allocate, delete_unfinished, write_whole, writing_whole
from training.distil.sources import Source

_REPORT_EVERY = 500


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Decoded images. `digest` depends on their sources and their size."""

    pixels_NHWC: NDArray[np.uint8]
    labels_N: NDArray[np.int64]
    classes: tuple[str, ...]
    digest: str
    num_left_out: int

    def __len__(self) -> int:
        return len(self.pixels_NHWC)


def load(
    sources: Sequence[Source], size_px: int, folder: Path, progress: Callable[[float], None]
) -> Images:
    """Open the decoded images of these sources in `folder`. If they are missing, decode them first.

    Images that cannot be decoded are left out and counted. Raises InvalidRequest if no image can be
    decoded.
    """
    digest = _digest(sources, size_px)
    array, description = folder / "images.npy", folder / "images.json"
    try:
        described = json.loads(description.read_text(encoding="utf-8"))
    except FileNotFoundError:
        described = {}
    if described.get("digest") != digest or not array.exists():
        delete_unfinished(folder)
        described = _decode_all(sources, size_px, array, progress) | {"digest": digest}
        write_whole(description, json.dumps(described).encode())
    return Images(
        np.load(array, mmap_mode="r"),
        np.array(described["labels"], np.int64),
        tuple(described["classes"]),
        digest,
        described["left_out"],
    )


def _decode_all(
    sources: Sequence[Source], size_px: int, array: Path, progress: Callable[[float], None]
) -> dict[str, object]:
    count = sum(map(len, sources))
    if not count:
        raise InvalidRequest(f"there are no images in {', '.join(map(str, sources))}")
    with writing_whole(array) as unfinished:
        shape = (count, size_px, size_px, 3)
        pixels = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape)
        allocate(unfinished, unfinished.stat().st_size)
        labels, classes = _decode_into(pixels, sources, size_px, progress)
        pixels.flush()
        if len(labels) < count:  # the header of the array holds its length
            with writing_whole(unfinished) as shorter, shorter.open("wb") as file:
                np.save(file, pixels[: len(labels)])
    return {"labels": labels, "classes": classes, "left_out": count - len(labels)}


def _decode_into(
    pixels_NHWC: NDArray[np.uint8],
    sources: Sequence[Source],
    size_px: int,
    progress: Callable[[float], None],
) -> tuple[list[int], tuple[str, ...]]:
    """Fill the first rows with all readable images. Returns their labels and the classes."""
    labels: list[int] = []
    classes: tuple[str, ...] = ()
    spec, num_read = PixelSpec(size_px), 0
    for source in sources:
        if classes and source.classes and source.classes != classes:
            raise InvalidRequest(f"the labels of {source} are of other classes than those before")
        classes = classes or source.classes
        for image, label in source.read():
            num_read += 1
            try:
                pixels_NHWC[len(labels)] = decode(image, spec)
            except InputError:
                continue
            labels.append(label)
            if num_read % _REPORT_EVERY == 0:
                progress(num_read / len(pixels_NHWC))
    if not labels:
        raise InvalidRequest(f"none of {len(pixels_NHWC)} files is a readable image")
    return labels, classes


def _digest(sources: Sequence[Source], size_px: int) -> str:
    hashed = hashlib.sha256(str(size_px).encode())
    for source in sources:
        for fact in source.facts():
            hashed.update(f"{fact}\0".encode())
    return hashed.hexdigest()
