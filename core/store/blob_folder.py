"""The blob store as a folder of files, for checks: it lists names and hashes contents, past any
cache, and in bounded memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re

import fsspec

from core.errors import StoreError

_CHUNK_BYTES = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")
#: The names of the sub-folders.
PREFIXES = tuple(f"{number:02x}" for number in range(256))


class Unreadable(Exception):
    """The permissions of a file do not let it be read."""


class BlobFolder:
    def __init__(self, url: str) -> None:
        """As `core.store.blobs.open_blobs` takes it. Raises StoreError."""
        self.is_local = "://" not in url or url.startswith("file://")
        try:
            if self.is_local:
                self._fs, self._root = fsspec.filesystem("file"), url.removeprefix("file://")
            else:
                self._fs, self._root = fsspec.core.url_to_fs(url)
        except Exception as error:  # drivers raise classes of their own
            raise StoreError(f"the blob store cannot be used: {error}") from error

    @property
    def is_empty(self) -> bool:
        """As a disk that is not mounted looks. Raises StoreError."""
        return not self._list(self._root)

    def digests(self, prefix: str) -> set[str]:
        """The names of the blobs in a sub-folder. Raises StoreError."""
        names = (path.rsplit("/", 1)[-1] for path in self._list(f"{self._root}/{prefix}"))
        return {name for name in names if _DIGEST.fullmatch(name)}

    def hash(self, digest: str) -> tuple[str, int] | None:
        """The SHA-256 of a blob's content, and its size. None: it is missing.

        Raises Unreadable, StoreError.
        """
        hashed, size = hashlib.sha256(), 0
        try:
            with self._fs.open(self._path(digest), "rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    hashed.update(chunk)
                    size += len(chunk)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise Unreadable(str(error)) from error
        except Exception as error:
            raise StoreError(f"blob {digest} cannot be read: {error}") from error
        return hashed.hexdigest(), size

    def make_readable(self, digest: str) -> bool:
        """Let the owner read a blob. Returns whether that could be done."""
        with contextlib.suppress(OSError):
            if self.is_local:
                os.chmod(self._path(digest), 0o600)
                return True
        return False

    def _list(self, path: str) -> list[str]:
        self._fs.invalidate_cache()
        try:
            listed: list[str] = self._fs.ls(path, detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise StoreError(f"the blob store cannot be listed: {error}") from error
        return listed

    def _path(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest}"
