"""A zip archive of a client: listed and read within limits, and never extracted to disk.

What makes an archive dangerous as a whole is refused: overlapping entries, which are bombs, and too
many or too large ones. What is wrong with one entry is said of that entry.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType

from core.errors import InvalidArchive
from core.exchange.reading.material import IMAGES, Material
from core.exchange.reading.source import Unreadable
from core.exchange.reading.source_file import SourceFile, shown

MAX_ENTRIES = 1_000_000
# Of the table at its end, which is read at once.
_MAX_TABLE_BYTES = 250_000_000
# All entries together unpack to at most so many times its size, and something for small ones. Each
# entry unpacks to no more than it declares, so what they declare is what counts.
_MAX_RATIO = 20
_MAX_RATIO_FROM_BYTES = 100_000_000
_CHUNK_BYTES = 1 << 20
_IN_TABLE = b"PK\x01\x02"
_END = b"PK\x05\x06"
_MAX_END_BYTES = 65_557
_LOCAL_HEADER_BYTES = 30
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_UTF8 = 0x800
_DRIVE = re.compile(r"^[A-Za-z]:")
# What the standard library raises at damaged archives.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    OSError,
)


def check_end(path: Path, name: str) -> None:
    """Look for the end of an archive, at little cost. Raises InvalidArchive, OSError."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _MAX_END_BYTES))
        if _END not in file.read():
            raise InvalidArchive(f"{shown(name)} is no zip archive, or its end is missing")


class Archive:
    may_have_wrapper = True

    def __init__(self, path: Path, name: str | None = None, material: Material = IMAGES) -> None:
        """Raises InvalidArchive, OSError."""
        self.material = material
        self.name = shown(name or path.name)
        check_end(path, self.name)
        self._raw = path.open("rb")
        try:
            with self._naming():
                self._zip = zipfile.ZipFile(_Guarded(self._raw))
            self.files = self._list(path.stat().st_size)
        except BaseException:
            self._raw.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._zip.close()
        self._raw.close()

    def labelled(self) -> None:
        """Its folders or a label file in it say the labels."""

    def read(self, file: SourceFile, max_bytes: int) -> bytes:
        """Threads may read at the same time."""
        info: zipfile.ZipInfo = file.handle
        if info.file_size > max_bytes:
            raise Unreadable(f"too large: {info.file_size:,} bytes; the limit is {max_bytes:,}")
        parts = []
        try:
            with self._zip.open(info) as entry:
                while part := entry.read(_CHUNK_BYTES):
                    parts.append(part)
        except _DAMAGED as error:
            raise Unreadable("damaged in the archive") from error
        content = b"".join(parts)
        if len(content) != info.file_size:
            raise Unreadable("damaged in the archive")
        return content

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGED as error:
            raise InvalidArchive(
                f"{self.name} is a damaged zip archive: {shown(str(error))}; pack it again"
            ) from error

    def _list(self, num_bytes: int) -> list[SourceFile]:
        infos = self._zip.infolist()
        self._check_sizes(infos, num_bytes)
        files = []
        known: set[tuple[str, ...]] = set()
        for info in infos:
            name = _name_of(info)
            if name.endswith(("/", "\\")):
                continue  # a folder, which holds nothing itself
            parts = tuple(part for part in re.split(r"[/\\]", name) if part not in ("", "."))
            problem = _problem_with(info, name, parts)
            if problem is None and parts in known:
                problem = "another file of the archive has this name"
            known.add(parts)
            ignored = self.material.why_ignored(parts) if problem is None else None
            files.append(SourceFile(parts or (name,), info, ignored, problem))
        return sorted(files, key=lambda file: file.parts)

    def _check_sizes(self, infos: list[zipfile.ZipInfo], num_bytes: int) -> None:
        total = sum(info.file_size for info in infos)
        most = _MAX_RATIO * num_bytes + _MAX_RATIO_FROM_BYTES
        if total > most:
            raise InvalidArchive(
                f"{self.name} would unpack to {total:,} bytes, and an archive of its size may to "
                f"{most:,}; pack the photos as they are"
            )
        starts = sorted((info.header_offset, info.compress_size) for info in infos)
        for (start, size), (end, _) in pairwise([*starts, (self._zip.start_dir, 0)]):
            if start < 0 or start + _LOCAL_HEADER_BYTES + size > end:
                raise InvalidArchive(
                    f"{self.name} has entries that overlap, as those of a bomb do; pack it again"
                )


def _name_of(info: zipfile.ZipInfo) -> str:
    """Some programs write UTF-8 without saying so, and the standard is code page 437."""
    if info.flag_bits & _UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode()
    except UnicodeError:
        return info.filename


def _problem_with(info: zipfile.ZipInfo, name: str, parts: tuple[str, ...]) -> str | None:
    mode = info.external_attr >> 16
    if not parts or name.startswith(("/", "\\")) or ".." in parts or _DRIVE.match(name):
        return "its path leads out of the archive"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "a link, or another file without content"
    if info.flag_bits & _ENCRYPTED:
        return "encrypted; pack it without a password"
    if info.compress_type not in _METHODS:
        return f"compressed by method {info.compress_type}; pack it with Deflate or as it is"
    return None


class _Guarded(io.BufferedIOBase):
    """A file that is never read in larger pieces than an archive needs.

    The standard library reads the table of an archive at once and makes an object of each entry,
    however many the archive has.
    """

    def __init__(self, raw: io.BufferedReader) -> None:
        self._raw = raw

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = _MAX_END_BYTES
        if size > _MAX_TABLE_BYTES:
            raise InvalidArchive(f"its table has {size:,} bytes; the limit is {_MAX_TABLE_BYTES:,}")
        content = self._raw.read(size)
        if size > _CHUNK_BYTES and content.count(_IN_TABLE) > MAX_ENTRIES:
            raise InvalidArchive(f"it has more than {MAX_ENTRIES:,} entries; pack several archives")
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
