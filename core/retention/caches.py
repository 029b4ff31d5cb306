"""Files of this machine's cache that nothing needs any more. Any may be deleted at any time."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

# A process may have written it for a version whose row comes a moment later.
_MIN_AGE_S = 3600.0


class CacheFile(NamedTuple):
    """A file, or the folder of a run."""

    path: Path
    num_bytes: int


def unused(
    cache: Path, backbones: Collection[str], manifests: Collection[str], unfinished: Collection[str]
) -> list[CacheFile]:
    """Optimised backbones, exported models and folders of runs whose backbone, version or run is
    not among those given."""
    found = [
        *_not_of(cache / "ort", backbones),
        *_not_of(cache / "exports", manifests),
        *(path for path in _children(cache / "runs") if path.name not in unfinished),
    ]
    return [CacheFile(path, size(path)) for path in found if _is_old(path)]


def remove(file: CacheFile) -> None:
    if file.path.is_dir():
        shutil.rmtree(file.path, ignore_errors=True)
    with contextlib.suppress(OSError):
        file.path.unlink(missing_ok=True)


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    total = 0
    for file in [path, *path.rglob("*")]:
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def _not_of(folder: Path, digests: Collection[str]) -> Iterator[Path]:
    """Files whose names begin with another digest than those given."""
    for path in _children(folder):
        if len(path.name) > 64 and path.name[:64] not in digests:
            yield path


def _children(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []


def _is_old(path: Path) -> bool:
    try:
        return abs(time.time() - path.stat().st_mtime) > _MIN_AGE_S
    except OSError:
        return False
