"""A folder on disk, with all that is below it."""

from __future__ import annotations

import os
from pathlib import Path

from core.errors import InvalidRequest
from core.exchange.reading.material import IMAGES, Material
from core.exchange.reading.source import Unreadable
from core.exchange.reading.source_file import SourceFile


class Folder:
    # The folder that a person names is the top.
    may_have_wrapper = False

    def __init__(self, root: Path, material: Material = IMAGES) -> None:
        """Raises InvalidRequest."""
        self.material = material
        if not root.is_dir():
            what = "is not a folder" if root.exists() else "does not exist"
            raise InvalidRequest(f"{root} {what}; name a folder that holds one folder per class")
        self.name = str(root)
        self._root = root
        self.files: list[SourceFile] = []
        unreadable: list[OSError] = []
        for parent, folders, names in os.walk(root, onerror=unreadable.append):
            self._add_level(Path(parent), folders, names)
        for error in unreadable:
            if Path(error.filename) == root:
                raise InvalidRequest(f"{root} cannot be read: {error.strerror}")
            why = f"the folder cannot be read: {error.strerror}"
            self._add(Path(error.filename), ignored=why)
        self.files.sort(key=lambda file: file.parts)

    def labelled(self) -> None:
        """Its folders or a label file in it say the labels."""

    def read(self, file: SourceFile, max_bytes: int) -> bytes:
        path: Path = file.handle
        try:
            if not path.is_file():
                raise Unreadable("not a file, or not readable")
            num_bytes = path.stat().st_size
            if num_bytes > max_bytes:
                raise Unreadable(f"too large: {num_bytes:,} bytes; the limit is {max_bytes:,}")
            with path.open("rb") as opened:  # it may grow meanwhile
                return opened.read(max_bytes)
        except OSError as error:
            raise Unreadable("not a file, or not readable") from error

    def _add_level(self, parent: Path, folders: list[str], names: list[str]) -> None:
        """List the files of a folder. A folder that is no place of photos is one entry, and a link
        to a folder is another; neither is entered."""
        entered = []
        for name in folders:
            path = parent / name
            if why := self.material.why_folder_ignored((name,)):
                self._add(path, ignored=f"the folder is {why}")
            elif path.is_symlink():
                self._add(path, unreadable="a link to a folder")
            else:
                entered.append(name)
        folders[:] = entered
        for name in names:
            self._add(parent / name, ignored=self.material.why_ignored((name,)))

    def _add(self, path: Path, ignored: str | None = None, unreadable: str | None = None) -> None:
        parts = path.relative_to(self._root).parts
        self.files.append(SourceFile(parts, path, ignored, unreadable))
