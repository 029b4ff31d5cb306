"""The images of a distillation: from folders, .npz files, or the images that users have sent.

A label is an index into the source's classes, or UNLABELLED.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import BlobMissing, ChecksumMismatch, InvalidRequest

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
#: The label of an image that has none.
UNLABELLED = -1


class Source(Protocol):
    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its labels. Empty if it has no labels."""

    def facts(self) -> Iterator[str]:
        """Lines that change when its images do, without reading them."""

    def __len__(self) -> int: ...

    def read(self) -> Iterator[tuple[bytes, int]]:
        """Yield every encoded image and its label, in the same order each time."""


def open_source(path: Path) -> Source:
    """Open a folder or an archive. Raises InvalidRequest if it is neither."""
    if not path.exists():
        raise InvalidRequest(f"{path} does not exist")
    return Folder(path) if path.is_dir() else Archive(path)


class Folder:
    """All images below a folder, without labels."""

    classes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        files = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        self._files = sorted(files)

    def __str__(self) -> str:
        return str(self._path)

    def __len__(self) -> int:
        return len(self._files)

    def facts(self) -> Iterator[str]:
        return map(_stat, self._files)

    def read(self) -> Iterator[tuple[bytes, int]]:
        return ((path.read_bytes(), UNLABELLED) for path in self._files)


class Archive:
    """An .npz of encoded images: `bytes`, `offsets`, and if there are labels `labels` and `names`.

    Image i is bytes[offsets[i]:offsets[i+1]].
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with np.load(path, allow_pickle=False) as archive:
                self._offsets_N1: NDArray[Any] = archive["offsets"]
                count = len(self._offsets_N1) - 1
                is_labelled = "labels" in archive.files
                labels = archive["labels"] if is_labelled else np.full(count, UNLABELLED)
                self.classes: tuple[str, ...] = ()
                if "names" in archive.files and is_labelled:
                    self.classes = tuple(map(str, archive["names"]))
                elif is_labelled:
                    self.classes = tuple(str(label) for label in range(int(labels.max()) + 1))
        except (OSError, ValueError, KeyError) as error:
            raise InvalidRequest(
                f"{path} is neither a folder nor an .npz with bytes and offsets: {error}"
            ) from error
        self._labels_N = labels

    def __str__(self) -> str:
        return str(self._path)

    def __len__(self) -> int:
        return len(self._offsets_N1) - 1

    def facts(self) -> Iterator[str]:
        yield _stat(self._path)

    def read(self) -> Iterator[tuple[bytes, int]]:
        with np.load(self._path, allow_pickle=False) as archive:
            held = archive["bytes"]
        for i, label in enumerate(self._labels_N):
            yield held[self._offsets_N1[i] : self._offsets_N1[i + 1]].tobytes(), int(label)


class Captured:
    """The images that users have sent, by digest, without labels. Deleted ones are left out."""

    classes: tuple[str, ...] = ()

    def __init__(self, digests: Sequence[str], get: Callable[[str], bytes]) -> None:
        self._digests, self._get = digests, get

    def __str__(self) -> str:
        return f"{len(self)} captured images"

    def __len__(self) -> int:
        return len(self._digests)

    def facts(self) -> Iterator[str]:
        return iter(self._digests)

    def read(self) -> Iterator[tuple[bytes, int]]:
        for digest in self._digests:
            try:
                yield self._get(digest), UNLABELLED
            except (BlobMissing, ChecksumMismatch):
                yield b"", UNLABELLED


def _stat(path: Path) -> str:
    stat = path.stat()
    return f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}"
