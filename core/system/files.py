"""Files: written atomically, and made durable."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file that appears under its name complete, or not at all. Only its owner may read it.

    With `durable` its content is fsynced; its name is durable after `fsync_folder`. Raises OSError.
    """
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(fd)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def fsync_file(path: Path) -> None:
    """Make durable what any process has written to the file so far. Raises OSError."""
    _fsync(path, os.O_RDWR)


def fsync_folder(path: Path) -> None:
    """Make durable the names in the folder. Raises OSError."""
    if sys.platform != "win32":  # which opens no folders
        _fsync(path, os.O_RDONLY)


def _fsync(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
