"""Thumbnails on local disk, each named by the SHA-256 of the image that it shows.

A thumbnail is made again when it is missing, so the folder may be deleted at any time. What was
used longest ago is deleted when there is more than the limit. Many processes use the folder: a file
appears whole. A caller reads the row first (`images.py`): without a row a thumbnail is not shown,
and whoever sweeps deletes it.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from core.inputs.kind import InputKind
from core.review import images
from core.store.blobs import is_digest
from core.store.database import Database
from core.system.files import make_private_folder, write_whole

_CHUNK = 500
# A full folder is looked through once for so much of its size, and has that much more meanwhile.
_SLACK = 0.1

log = logging.getLogger(__name__)


def folder_in(cache: Path) -> Path:
    """The thumbnails in the cache of a machine."""
    return cache / "thumbnails"


class ThumbnailCache:
    def __init__(self, folder: Path, max_bytes: int, kind: InputKind) -> None:
        self._folder = folder
        self._kind = kind
        self._suffix = kind.preview_suffix
        self._max_bytes = max_bytes
        # Written by this process since it looked through the folder. At first, what is there is
        # unknown.
        self._new_bytes = max_bytes

    def get(self, image: str) -> bytes | None:
        """None if there is no intact one."""
        path = self._path(image)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        if not self._kind.is_whole_preview(content):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return content

    def add(self, image: str, content: bytes) -> None:
        """Keep it, if it fits. Where it cannot be written, there is none."""
        if len(content) > self._max_bytes:
            return
        path = self._path(image)
        try:
            make_private_folder(self._folder)
            make_private_folder(path.parent)
            write_whole(path, content)
            self._new_bytes += len(content)
            if self._new_bytes > _SLACK * self._max_bytes:
                self._new_bytes = 0
                self._delete_oldest()
        except OSError as error:
            log.warning("thumbnail.unwritable", extra={"error": str(error)})

    def remove(self, image: str) -> bool:
        """Whether there was one."""
        try:
            self._path(image).unlink()
        except OSError:
            return False
        return True

    def unnamed(self, db: Database) -> Iterator[Path]:
        """Thumbnails of images that no row names any more. Raises StoreError."""
        paths = {path.name.removesuffix(self._suffix): path for path in self._files()}
        digests = list(paths)
        for start in range(0, len(digests), _CHUNK):
            part = digests[start : start + _CHUNK]
            with db.read() as conn:
                named = images.named(conn, part)
            yield from (paths[digest] for digest in part if digest not in named)

    def _files(self) -> Iterator[Path]:
        for path in self._folder.glob(f"??/*{self._suffix}"):
            if is_digest(path.name.removesuffix(self._suffix)):
                yield path

    def _delete_oldest(self) -> None:
        found: list[tuple[float, int, Path]] = []
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):  # another process deleted it
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        num_bytes = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if num_bytes <= (1 - _SLACK) * self._max_bytes:
                return
            path.unlink(missing_ok=True)
            num_bytes -= size

    def _path(self, image: str) -> Path:
        return self._folder / image[:2] / f"{image}{self._suffix}"
