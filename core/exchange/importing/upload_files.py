"""The archives of imports, as files of this machine below the home folder."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from core.errors import DiskFull
from core.settings import Settings

_SUFFIX = ".zip"
# Its row may come a moment later.
_MIN_AGE_S = 3600.0


class UploadFiles:
    def __init__(self, settings: Settings) -> None:
        self.folder = folder_of(settings)
        self._min_free_bytes = settings.min_free_disk_bytes

    def path(self, import_id: str) -> Path:
        return self.folder / f"{import_id}{_SUFFIX}"

    def has(self, import_id: str) -> bool:
        return self.path(import_id).is_file()

    def has_any(self) -> bool:
        with contextlib.suppress(OSError):
            return any(self.folder.glob(f"*{_SUFFIX}"))
        return False

    def delete(self, import_id: str) -> None:
        with contextlib.suppress(OSError):
            self.path(import_id).unlink(missing_ok=True)

    def check_room(self, num_bytes: int) -> None:
        """Whether the disk has room for so many bytes more. Raises DiskFull."""
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError:
            return
        if free - num_bytes < self._min_free_bytes:
            raise DiskFull(
                f"the archive needs {num_bytes:,} bytes, and the disk has {free:,} free, of which "
                f"{self._min_free_bytes:,} are kept (EVERGREEN_MIN_FREE_DISK_MB)"
            )

    def sweep(self, kept: Collection[str]) -> int:
        """Delete old archives of imports that are not among these. Returns how many."""
        num_deleted = 0
        with contextlib.suppress(OSError):
            for path in self.folder.glob(f"*{_SUFFIX}"):
                is_old = abs(time.time() - path.stat().st_mtime) > _MIN_AGE_S
                if path.stem not in kept and is_old:
                    path.unlink(missing_ok=True)
                    num_deleted += 1
        return num_deleted


def folder_of(settings: Settings) -> Path:
    return settings.home / "imports"
