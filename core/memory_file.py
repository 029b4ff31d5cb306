"""A file in memory, which nobody can change once it is sealed, whatever becomes of the disk: where
a file that is mapped is cut off, the process ends. Only Linux has such files.
"""

from __future__ import annotations

import fcntl
import os
import sys
import weakref
from pathlib import Path

from core.blobs import Blobs
from core.errors import StoreError


class MemoryFile:
    """Gone with the last that refers to it, or that has mapped it."""

    def __init__(self, name: str) -> None:
        """Empty; the name is for those who look at the process. Raises OSError."""
        if sys.platform != "linux":
            raise OSError(f"{sys.platform} has no files in memory")
        self._descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        # The memory of a large file is given back here, where the interpreter's lock is not held:
        # not in the destructor of what has mapped it.
        weakref.finalize(self, os.close, self._descriptor)

    @staticmethod
    def of_blob(digest: str, blobs: Blobs) -> MemoryFile:
        """Sealed, and checked. Raises ChecksumMismatch, StoreError."""
        try:
            copy = MemoryFile(digest)
            blobs.copy(digest, copy.path)
            copy.seal()
        except OSError as error:  # containers may forbid it
            raise StoreError(f"blob {digest} cannot be kept in memory: {error}") from error
        return copy

    @property
    def path(self) -> Path:
        """For this process."""
        return Path(f"/proc/self/fd/{self._descriptor}")

    def seal(self) -> None:
        """Raises OSError."""
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
        fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, seals)
