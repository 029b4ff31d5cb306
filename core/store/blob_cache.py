"""Copies of remote blobs on local disk, so that a machine starts without the object store.

Owns the files, each named by the SHA-256 of its content, which is checked at every use. What was
used longest ago is deleted when there is more than the limit. The folder may be deleted at any
time. Many processes use it: a file appears whole, and who reads it has a link of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from core.system.files import UNFINISHED, make_private_folder, write_whole

_DIGEST = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger(__name__)


class BlobCache:
    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def get(self, digest: str) -> bytes | None:
        """None if there is no intact copy."""
        with self.file(digest) as path:
            return None if path is None else path.read_bytes()

    @contextlib.contextmanager
    def file(self, digest: str) -> Iterator[Path | None]:
        """A copy to read within the context, whatever is deleted meanwhile. None if there is no
        intact one."""
        with contextlib.ExitStack() as stack:
            path = None
            if (self._folder / digest).exists():
                with contextlib.suppress(OSError):
                    path = self._intact(digest, stack.enter_context(self._scratch()))
            yield path

    def add(self, digest: str, content: bytes) -> None:
        """Keep a copy, if it fits. Where it cannot be written, there is none."""
        if len(content) > self._max_bytes:
            return
        try:
            make_private_folder(self._folder)
            write_whole(self._folder / digest, content)
            self._delete_oldest()
        except OSError as error:
            log.warning("blob_cache.unwritable", extra={"error": str(error)})

    def remove(self, digest: str) -> None:
        with contextlib.suppress(OSError):
            (self._folder / digest).unlink(missing_ok=True)

    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(
            dir=self._folder, prefix=UNFINISHED, ignore_cleanup_errors=True
        )

    def _intact(self, digest: str, scratch: str) -> Path | None:
        """Raises OSError."""
        entry, path = self._folder / digest, Path(scratch) / digest
        try:
            os.link(entry, path)
        except FileNotFoundError:
            return None
        except OSError:  # a file system without hard links
            shutil.copyfile(entry, path)
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                log.warning("blob_cache.damaged", extra={"digest": digest})
                self.remove(digest)
                return None
        with contextlib.suppress(OSError):
            os.utime(entry)
        return path

    def _delete_oldest(self) -> None:
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if _DIGEST.fullmatch(entry.name):
                    with contextlib.suppress(FileNotFoundError):  # another process deleted it
                        stat = entry.stat()
                        found.append((stat.st_mtime, stat.st_size, entry.name))
        num_bytes = sum(size for _, size, _ in found)
        for _, size, digest in sorted(found):
            if num_bytes <= self._max_bytes:
                return
            self.remove(digest)
            num_bytes -= size
