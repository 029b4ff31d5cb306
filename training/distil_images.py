"""Images to distil on: folders of images and .npz files, decoded once into one array on disk.

An .npz holds encoded images end to end: `bytes`, `offsets`, and optionally `labels` and `names`;
image i is bytes[offsets[i]:offsets[i+1]]. A folder gives no labels: a captured image has none yet.
Pixels come from `core.pixels`, as everywhere.

N images, H/W pixels, C channels.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError, InvalidRequest
from core.pixels import PixelSpec, decode

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
#: The label of an image that has none.
UNLABELLED = -1
_TELL_EVERY = 500


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Decoded images. `digest` names them: the same sources at the same size give the same."""

    pixels_NHWC: NDArray[np.uint8]
    labels_N: NDArray[np.int64]
    classes: tuple[str, ...]
    digest: str
    num_left_out: int

    def __len__(self) -> int:
        return len(self.pixels_NHWC)


def load(
    sources: Sequence[Path], size_px: int, folder: Path, progress: Callable[[float], None]
) -> Images:
    """Open the decoded images of these sources in `folder`, and decode them first if need be.

    What cannot be decoded is left out and counted. Raises InvalidRequest if nothing can be read.
    """
    digest = _digest(sources, size_px)
    array, facts = folder / "images.npy", folder / "images.json"
    try:
        content = json.loads(facts.read_text(encoding="utf-8"))
    except FileNotFoundError:
        content = {}
    if content.get("digest") != digest or not array.exists():
        content = _decode_all(sources, size_px, array, progress) | {"digest": digest}
        write_whole(facts, json.dumps(content).encode())
    return Images(
        np.load(array, mmap_mode="r"),
        np.array(content["labels"], np.int64),
        tuple(content["classes"]),
        digest,
        content["left_out"],
    )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is either whole or absent."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def _decode_all(
    sources: Sequence[Path], size_px: int, array: Path, progress: Callable[[float], None]
) -> dict[str, object]:
    count = sum(_count(source) for source in sources)
    if not count:
        raise InvalidRequest(f"there are no images in {', '.join(map(str, sources))}")
    partial = array.with_name(array.name + ".partial")
    shape = (count, size_px, size_px, 3)
    pixels = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
    labels: list[int] = []
    classes: tuple[str, ...] = ()
    spec, seen = PixelSpec(size_px), 0
    for source in sources:
        found = _classes(source)
        if classes and found and found != classes:
            raise InvalidRequest(f"the labels of {source} are of other classes than those before")
        classes = classes or found
        for image, label in _read(source):
            seen += 1
            try:
                pixels[len(labels)] = decode(image, spec)
            except InputError:
                continue
            labels.append(label)
            if seen % _TELL_EVERY == 0:
                progress(seen / count)
    if not labels:
        raise InvalidRequest(f"none of {count} files is a readable image")
    pixels.flush()
    if len(labels) < count:  # rows are cut off at the end, which leaves the header to be rewritten
        np.save(partial.with_suffix(".cut.npy"), pixels[: len(labels)])
        os.replace(partial.with_suffix(".cut.npy"), partial)
    os.replace(partial, array)
    return {"labels": labels, "classes": classes, "left_out": count - len(labels)}


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def _count(source: Path) -> int:
    if source.is_dir():
        return len(_files(source))
    return len(_npz(source, "offsets")) - 1


def _classes(source: Path) -> tuple[str, ...]:
    if source.is_dir():
        return ()
    with np.load(source, allow_pickle=False) as archive:
        if "labels" not in archive.files:
            return ()
        if "names" in archive.files:
            return tuple(map(str, archive["names"]))
        return tuple(str(label) for label in range(int(archive["labels"].max()) + 1))


def _read(source: Path) -> Iterator[tuple[bytes, int]]:
    if source.is_dir():
        for path in _files(source):
            yield path.read_bytes(), UNLABELLED
        return
    with np.load(source, allow_pickle=False) as archive:
        held, offsets = archive["bytes"], archive["offsets"]
        count = len(offsets) - 1
        labels = archive["labels"] if "labels" in archive.files else np.full(count, UNLABELLED)
    for i in range(count):
        yield held[offsets[i] : offsets[i + 1]].tobytes(), int(labels[i])


def _npz(source: Path, name: str) -> NDArray[np.int64]:
    try:
        with np.load(source, allow_pickle=False) as archive:
            return np.asarray(archive[name])
    except (OSError, ValueError, KeyError) as error:
        raise InvalidRequest(
            f"{source} is neither a folder nor an .npz with bytes and offsets: {error}"
        ) from error


def _digest(sources: Sequence[Path], size_px: int) -> str:
    """Name what would be decoded by path, size and time of change; reading all would take long."""
    hashed = hashlib.sha256(str(size_px).encode())
    for source in sources:
        for path in _files(source) if source.is_dir() else [source]:
            if not path.exists():
                raise InvalidRequest(f"{path} does not exist")
            stat = path.stat()
            hashed.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
    return hashed.hexdigest()
