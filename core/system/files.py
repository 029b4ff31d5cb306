"""Files: written atomically, and made durable."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

UNFINISHED = ".new-"


def write_whole(
    path: Path, content: bytes, *, durable: bool = False, is_private: bool = True
) -> None:
    """Write a file that is complete or absent, as `writing_whole` does. Raises OSError."""
    with writing_whole(path, durable=durable, is_private=is_private) as unfinished:
        unfinished.write_bytes(content)


@contextlib.contextmanager
def writing_whole(path: Path, *, durable: bool = False, is_private: bool = True) -> Iterator[Path]:
    """Give an empty file beside `path` to write into. It is renamed to `path` when the block ends,
    and deleted when the block raises.

    With `durable` its content is fsynced before. Its name is durable after `fsync_folder`. Only the
    owner may read a private file. Raises OSError.
    """
    unfinished = path.with_name(f"{UNFINISHED}{secrets.token_hex(8)}")
    unfinished.touch(0o600 if is_private else 0o666, exist_ok=False)
    try:
        yield unfinished
        if durable:
            fsync_file(unfinished)
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def make_private_folder(path: Path) -> None:
    """Make the folder, and those above it. Only its owner may enter a new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def sweep(folder: Path, older_than_s: float) -> int:
    """Delete what killed writers left in the folder and those below it, unless it is so new that
    its writer may be alive. Returns how many files and folders that were."""
    num_deleted = 0
    for path in _unfinished(folder, older_than_s):
        with contextlib.suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            num_deleted += 1
    return num_deleted


def count_unfinished(folder: Path, older_than_s: float) -> int:
    """How many files and folders `sweep` would delete."""
    return sum(1 for _ in _unfinished(folder, older_than_s))


def _unfinished(folder: Path, older_than_s: float) -> Iterator[Path]:
    for path in folder.rglob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if abs(time.time() - path.stat().st_mtime) >= older_than_s:
                yield path


def delete_unfinished(folder: Path) -> None:
    """Delete what writers that were killed left in a folder to which nobody writes now."""
    for path in folder.glob(f"{UNFINISHED}*"):
        path.unlink(missing_ok=True)


def allocate(path: Path, num_bytes: int) -> None:
    """Extend a file to so many bytes, and take the disk for all of them now.

    A file that is mapped into memory needs this: on a full disk, writing to a hole of it kills the
    process (SIGBUS). Raises OSError.
    """
    with path.open("ab") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        else:  # macOS
            file.write(bytes(max(0, num_bytes - file.tell())))


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
