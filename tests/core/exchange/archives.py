"""Archives for tests: of photos, and with what is wrong in some."""

from __future__ import annotations

import functools
import struct
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

from core.exchange.reading.archive import Archive
from tests.support import images

Entry = bytes | str


@functools.cache
def photo(seed: int) -> bytes:
    return images.png(24, 20, seed)


def packed(entries: Mapping[str, Entry], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def photos(*names: str) -> dict[str, Entry]:
    """A photo of its own for each name."""
    return {name: photo(seed) for seed, name in enumerate(names)}


def opened(folder: Path, content: bytes) -> Archive:
    path = folder / "photos.zip"
    path.write_bytes(content)
    return Archive(path)


def patched(content: bytes, name: str, change: Callable[[bytearray, int], None]) -> bytes:
    """Change the entry of this name in the table of the archive. `change` gets the archive and the
    place of the entry."""
    archive = bytearray(content)
    at = archive.find(b"PK\x01\x02")
    while at >= 0:
        (length,) = struct.unpack_from("<H", archive, at + 28)
        if archive[at + 46 : at + 46 + length] == name.encode():
            change(archive, at)
            return bytes(archive)
        at = archive.find(b"PK\x01\x02", at + 1)
    raise AssertionError(f"no entry {name}")


def put(offset: int, form: str, value: int) -> Callable[[bytearray, int], None]:
    """Overwrite a field of an entry."""

    def change(archive: bytearray, at: int) -> None:
        struct.pack_into(form, archive, at + offset, value)

    return change


FLAGS, METHOD, SIZE, MODE, OFFSET = 8, 10, 24, 38, 42
