"""The blob store: bytes, named by their SHA-256. A blob is written before the row that names it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from core.errors import BlobMissing, ChecksumMismatch, DiskFull, StoreError
from core.system.files import fsync_folder, write_whole


class Blobs(Protocol):
    def put(self, content: bytes, *, durable: bool = True, digest: str | None = None) -> str:
        """Store the bytes and return their SHA-256. With `durable` they are fsynced. `digest` is
        their SHA-256, if the caller has calculated it."""

    def get(self, digest: str, *, keep: bool = False) -> bytes:
        """With `keep`, for a version's files, a remote store leaves a copy on this machine, which
        answers the next such read.

        Raises BlobMissing, ChecksumMismatch if damaged, StoreError if it cannot be read.
        """

    def file(self, digest: str) -> AbstractContextManager[Path]:
        """Like `get` with `keep`, as a file to read within the context."""

    def size(self, digest: str) -> int:
        """In bytes, without reading them. Raises BlobMissing, StoreError."""

    def has(self, digest: str) -> bool: ...

    def delete(self, digest: str) -> None:
        """Deleting an absent blob is no error."""

    def digests(self) -> Iterator[str]:
        """All blobs, in no order. Raises StoreError."""


class LocalBlobs:
    """A folder with 256 sub-folders. A blob appears under its name complete, or not at all."""

    def __init__(self, root: Path) -> None:
        self._root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the blob folder {root} cannot be made: {error}") from error

    def put(self, content: bytes, *, durable: bool = True, digest: str | None = None) -> str:
        digest = digest or sha256(content)
        try:
            # A file of another size was cut off by a power cut.
            if not durable and self._size_of(digest) == len(content):
                return digest
            path = self._path(digest)
            path.parent.mkdir(exist_ok=True)
            write_whole(path, content, durable=durable)
            if durable:
                fsync_folder(path.parent)
                fsync_folder(self._root)  # the sub-folder may be new
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(
                    f"a blob of {len(content):,} bytes cannot be written: the disk is full; free "
                    "some of it, and send it again"
                ) from error
            raise StoreError(
                f"a blob of {len(content):,} bytes cannot be written below {self._root}: {error}"
            ) from error
        return digest

    def get(self, digest: str, *, keep: bool = False) -> bytes:
        try:
            content = self._path(digest).read_bytes()
        except OSError as error:
            raise unreadable(digest, error, self._has_content) from error
        return checked(content, digest)

    @contextlib.contextmanager
    def file(self, digest: str) -> Iterator[Path]:
        path = self._path(digest)
        try:
            # Not memory-mapped: a read error would kill the process instead of raising.
            with path.open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
                _check(actual, digest, file.tell())
        except OSError as error:
            raise unreadable(digest, error, self._has_content) from error
        yield path

    def size(self, digest: str) -> int:
        try:
            return self._path(digest).stat().st_size
        except OSError as error:
            raise unreadable(digest, error, self._has_content) from error

    def has(self, digest: str) -> bool:
        return self._path(digest).exists()

    def delete(self, digest: str) -> None:
        try:
            self._path(digest).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"blob {digest} cannot be deleted: {error}") from error

    def digests(self) -> Iterator[str]:
        try:
            yield from (path.name for path in self._root.glob("??/*") if is_digest(path.name))
        except OSError as error:
            raise StoreError(f"the blobs below {self._root} cannot be listed: {error}") from error

    def _has_content(self) -> bool:
        with os.scandir(self._root) as folders:
            return next(folders, None) is not None

    def _path(self, digest: str) -> Path:
        return self._root / digest[:2] / digest

    def _size_of(self, digest: str) -> int | None:
        # For every prediction: making a Path takes several times as long as the system call.
        try:
            return os.stat(f"{self._root}/{digest[:2]}/{digest}").st_size
        except FileNotFoundError:
            return None


def is_digest(name: str) -> bool:
    return len(name) == 64 and not name.strip("0123456789abcdef")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def unreadable(
    digest: str, error: Exception, has_content: Callable[[], bool]
) -> BlobMissing | StoreError:
    """Tell one missing blob from a store without any, such as a disk that is not mounted."""
    if isinstance(error, FileNotFoundError):
        try:
            if has_content():
                return BlobMissing(f"blob {digest} is missing: restore it from a backup")
        except Exception as unreachable:
            error = unreachable
        else:
            return StoreError(f"blob {digest} cannot be read: the blob store is empty or gone")
    return StoreError(f"blob {digest} cannot be read: {reason(error)}")


def reason(error: Exception) -> str:
    """Drivers' timeouts have no text."""
    return str(error) or f"no answer in time ({type(error).__name__})"


def checked(content: bytes, digest: str) -> bytes:
    _check(sha256(content), digest, len(content))
    return content


def _check(actual: str, digest: str, size: int) -> None:
    if actual != digest:
        raise ChecksumMismatch(
            f"blob {digest} is damaged: its {size:,} bytes have the digest {actual}; "
            "restore it from a backup"
        )
