"""Composed models on disk: each version's model.onnx is made once, and then streamed as a file.

Owns the files `<manifest digest>-<release>-<SHA-256>.onnx`. All may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.errors import StoreError
from core.system.files import write_whole

# A file has 7 MB, or 100 with a large backbone.
MAX_FILES = 8


@dataclass(frozen=True, slots=True)
class Export:
    path: Path
    sha256: str


class Exports:
    """For many threads. Processes of one home share the folder."""

    def __init__(self, folder: Path, release: str) -> None:
        self._folder = folder
        self._release = release
        self._composing = threading.Lock()
        # Files whose digest this process has checked.
        self._checked: dict[str, Export] = {}

    def known(self, manifest: str) -> Export | None:
        """The checked export of the version with this manifest, without waiting."""
        export = self._checked.get(manifest)
        return export if export is not None and export.path.exists() else None

    def get(self, manifest: str, compose: Callable[[], bytes]) -> Export:
        """The export, composed if there is none. One is composed at a time.

        Raises StoreError if it cannot be written, and what `compose` raises.
        """
        with self._composing:
            export = self.known(manifest) or self._find(manifest)
            if export is None:
                export = self._write(manifest, compose())
            self._checked[manifest] = export
            return export

    def _find(self, manifest: str) -> Export | None:
        for path in self._folder.glob(f"{manifest}-{self._release}-*.onnx"):
            sha256 = path.stem.rpartition("-")[2]
            with contextlib.suppress(OSError):
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                        return Export(path, sha256)
                path.unlink()
        return None

    def _write(self, manifest: str, content: bytes) -> Export:
        sha256 = hashlib.sha256(content).hexdigest()
        path = self._folder / f"{manifest}-{self._release}-{sha256}.onnx"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
            files = sorted(self._folder.glob("*.onnx"), key=lambda file: file.stat().st_mtime)
            for old in files[:-MAX_FILES]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"the model of {len(content):,} bytes cannot be kept below {self._folder}: {error}"
            ) from error
        return Export(path, sha256)
