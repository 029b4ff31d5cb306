"""Files that are whole or not there, and what survives a power cut."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """The file appears under its name complete, or not at all, and only its owner may read it. With
    `durable` what is in it survives a power cut; its name does after `sync_folder`. Raises
    OSError."""
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


def sync_file(path: Path) -> None:
    """What was written to the file so far, by whomever. Raises OSError."""
    _sync(path, os.O_RDWR)


def sync_folder(path: Path) -> None:
    """The names in it. Raises OSError."""
    if sys.platform != "win32":  # which opens no folders
        _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
