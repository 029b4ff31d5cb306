"""The data of `bench.learning`: photos in folders, their pixels and their embeddings.

A data set is a folder with train/<class>/* and val/<class>/*. The code that serves makes pixels
(`core.inputs.pixels`) and embeddings (the exported ONNX). They are cached in files whose names are
digests of all inputs.

N photos, D embedding, K classes; H/W pixels, C channels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.inputs.pixels.decoding import PixelSpec, decode
from core.models.backbones import Backbone, Runtime

PARTS = ("train", "val")
_BATCH = 16

# Called after every batch with the number of photos done.
OnPhotos = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    # Indexes `classes`.
    y_N: NDArray[np.intp]
    # SHA-256 of each file. Copies must not be in both training and validation data.
    digest_N: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True, slots=True)
class Network:
    """A backbone in the form that serves."""

    name: str
    onnx: bytes
    pixels: PixelSpec


def read(folder: Path) -> Photos:
    """List the photos of train or val, by class and then by name."""
    if not folder.is_dir():
        raise SystemExit(
            f"{folder} does not exist: a data set is a folder of {' and '.join(PARTS)}"
        )
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    files, y = [], []
    for k, name in enumerate(classes):
        own = sorted(path for path in (folder / name).iterdir() if path.is_file())
        files += own
        y += [k] * len(own)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return Photos(classes, tuple(files), np.array(y, np.intp), np.array(digests))


def data_sets(folder: Path, only: str | None = None) -> list[Path]:
    """Return the data sets in a folder, or the folder itself if it is one."""
    folders = [folder] if (folder / "train").is_dir() else []
    folders += sorted(path.parent for path in folder.glob("*/train"))
    folders = [path for path in folders if only in (None, path.name)]
    if not folders:
        raise SystemExit(f"{folder} holds no data set{f' {only!r}' if only else ''}")
    return folders


def embeddings(
    photos: Photos, network: Network, cache: Path, on_photos: OnPhotos = lambda done: None
) -> NDArray[np.float32]:
    """Return x_ND, rounded to float16 as in the cache of the service."""
    path = cache / f"{_digest(photos, network.pixels, network.onnx)}.embeddings.npy"
    if not path.exists():
        backbone = Backbone(network.onnx, network.name, Runtime(provider="cpu", threads=1))
        batches = []
        for batch in _batches(photos):
            batches.append(backbone.embed(_decode(photos, batch, network.pixels)))
            on_photos(batch.stop)
        _save(path, np.concatenate(batches).astype(np.float16))
    on_photos(len(photos))
    return np.load(path).astype(np.float32)


def pixels(
    photos: Photos, spec: PixelSpec, cache: Path, on_photos: OnPhotos = lambda done: None
) -> NDArray[np.uint8]:
    """Return pixels_NHWC, memory-mapped."""
    path = cache / f"{_digest(photos, spec)}.pixels.npy"
    if not path.exists():
        batches = []
        for batch in _batches(photos):
            batches.append(_decode(photos, batch, spec))
            on_photos(batch.stop)
        _save(path, np.concatenate(batches))
    on_photos(len(photos))
    mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return mapped


def _batches(photos: Photos) -> Iterator[range]:
    for start in range(0, len(photos), _BATCH):
        yield range(start, min(start + _BATCH, len(photos)))


def _decode(photos: Photos, batch: range, spec: PixelSpec) -> NDArray[np.uint8]:
    return np.stack([decode(photos.files[i].read_bytes(), spec) for i in batch])


def _digest(photos: Photos, spec: PixelSpec, onnx: bytes = b"") -> str:
    key = hashlib.sha256(repr(spec).encode())
    for digest in photos.digest_N:
        key.update(str(digest).encode())
    key.update(onnx)
    return key.hexdigest()[:24]


def _save(path: Path, array: NDArray[np.generic]) -> None:
    """Save atomically, so that an interrupted bench leaves no partial file in the cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, array)
    partial.replace(path)
