"""The check of the home folder: permissions, disk, caches, and what killed processes left."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url

from core.doctor.findings import Finding, fact
from core.errors import SpecMismatch
from core.inputs.kind import InputKind
from core.settings import Settings
from core.system.files import count_unfinished, sweep

_OTHERS = 0o077
_OLD_S = 3600.0
_LONG_WAL_BYTES = 256 * 2**20


def check_permissions(settings: Settings, *, repair: bool) -> Iterator[Finding]:
    """Before anything is opened: opening the database makes it private, as this does."""
    for path in _database_files(settings):
        mode = path.stat().st_mode & 0o777
        if mode & _OTHERS:
            repaired = "only its owner may now" if _chmod(path, 0o600) else ""
            text = f"others may read {path.name} ({mode:o}), which names people"
            yield Finding("permissions", text, f"chmod 600 {path}", repaired=repaired)
    for folder in _folders(settings):
        if folder.is_dir() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            repaired = "made writable" if repair and _chmod(folder, 0o700) else ""
            text = f"{folder} cannot be read and written by this user"
            yield Finding("permissions", text, f"chown or chmod {folder}", repaired=repaired)


def check_packages(kind: InputKind) -> Iterator[Finding]:
    try:
        kind.check_installed()
    except SpecMismatch as error:
        yield Finding("packages", str(error), "without it no version can be loaded")


def check_disk(settings: Settings) -> Iterator[Finding]:
    if not settings.home.is_dir():
        return
    free = shutil.disk_usage(settings.home).free
    text = f"{free / 1e6:,.0f} MB are free below {settings.home}"
    if free < settings.min_free_disk_bytes:
        less = f"{text}, less than EVERGREEN_MIN_FREE_DISK_MB ({settings.min_free_disk_mb:,.0f})"
        yield Finding("disk", less, "free some disk")
    else:
        yield fact("disk", text)
    for path in _database_files(settings):
        if path.name.endswith("-wal") and path.stat().st_size > _LONG_WAL_BYTES:
            text = f"{path.name} has {path.stat().st_size / 1e6:,.0f} MB"
            yield Finding("database", text, "end what reads the database for long, or restart")


def check_leftovers(settings: Settings, *, repair: bool) -> Iterator[Finding]:
    """Unfinished files of killed processes, older than an hour, and what waits in the spool."""
    for folder in _folders(settings):
        number = count_unfinished(folder, _OLD_S)
        if number:
            repaired = f"{sweep(folder, _OLD_S)} deleted" if repair else ""
            text = f"unfinished files of killed processes below {folder}: {number:,}"
            yield Finding("leftovers", text, "a start deletes them", repaired=repaired)
    spool = settings.home / "spool"
    if spool.is_dir():
        waiting = sum(len(path.name) == 36 for path in spool.iterdir())
        if waiting:
            text = f"predictions that wait on local disk for a server to store them: {waiting:,}"
            yield fact("spool", text)


def check_caches(settings: Settings, *, repair: bool) -> Iterator[Finding]:
    """Caches whose content differs from their digests, or that miss the file beside them."""
    for path in [*_damaged_exports(settings), *_damaged_optimised(settings)]:
        repaired = ""
        if repair:
            path.unlink(missing_ok=True)
            repaired = "deleted; it is made again when it is needed"
        yield Finding("caches", f"{path} is damaged", "delete it", repaired=repaired)


def _damaged_exports(settings: Settings) -> Iterator[Path]:
    for path in (settings.home / "cache" / "exports").glob("*.onnx"):
        if _sha256(path) != path.stem.rpartition("-")[2]:
            yield path


def _damaged_optimised(settings: Settings) -> Iterator[Path]:
    for path in (settings.home / "cache" / "ort").glob("*.ort"):
        try:
            expected = json.loads(path.with_suffix(".json").read_bytes())["sha256"]
        except FileNotFoundError:
            if time.time() - path.stat().st_mtime < _OLD_S:
                continue  # it is being written
            expected = ""
        except (OSError, ValueError, KeyError, TypeError):
            expected = ""
        if _sha256(path) != expected:
            yield path


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _database_files(settings: Settings) -> list[Path]:
    url = settings.resolved_database_url
    if not url.startswith("sqlite"):
        return []
    path = Path(make_url(url).database or "")
    files = (path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm"))
    return [file for file in files if file.exists()]


def _folders(settings: Settings) -> list[Path]:
    blobs = settings.resolved_blob_url.removeprefix("file://")
    home = settings.home
    return [
        *(home / name for name in ("cache", "spool", "shared")),
        *([] if "://" in blobs else [Path(blobs)]),
    ]


def _chmod(path: Path, mode: int) -> bool:
    try:
        path.chmod(mode)
    except OSError:
        return False
    return True
