"""A file in memory that nobody can change."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

import pytest

from core.blobs import LocalBlobs
from core.errors import ChecksumMismatch, StoreError
from core.memory_file import MemoryFile

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files in memory")

CONTENT = os.urandom(600_000)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_mapped_stays_whatever_becomes_of_the_blob(blobs: LocalBlobs) -> None:
    digest, before = blobs.put(CONTENT), descriptors()
    copy = MemoryFile.of_blob(digest, blobs)
    with copy.path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    blobs._path(digest).write_bytes(b"")
    path = copy.path
    del copy
    assert not path.exists()
    assert mapped[:] == CONTENT
    mapped.close()
    assert descriptors() == before


def test_nobody_can_change_it(blobs: LocalBlobs) -> None:
    copy = MemoryFile.of_blob(blobs.put(CONTENT), blobs)
    with pytest.raises(PermissionError), copy.path.open("r+b", buffering=0) as file:
        file.write(b"other")
    with pytest.raises(PermissionError):
        os.truncate(copy.path, 0)
    assert copy.path.read_bytes() == CONTENT


def test_a_damaged_blob_is_refused_and_nothing_is_kept(blobs: LocalBlobs) -> None:
    digest, before = blobs.put(CONTENT), descriptors()
    blobs._path(digest).write_bytes(CONTENT[:-1])
    with pytest.raises(ChecksumMismatch, match=digest):
        MemoryFile.of_blob(digest, blobs)
    assert descriptors() == before


def test_where_it_cannot_be_had_it_is_a_store_error(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> int:
        raise PermissionError("not in this container")

    digest = blobs.put(CONTENT)
    monkeypatch.setattr(os, "memfd_create", forbidden)
    with pytest.raises(StoreError, match="not in this container"):
        MemoryFile.of_blob(digest, blobs)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(StoreError, match="darwin has no files in memory"):
        MemoryFile.of_blob(digest, blobs)


def test_it_can_be_written_by_its_name_until_it_is_sealed() -> None:
    file = MemoryFile("model")
    file.path.write_bytes(b"content")
    file.seal()
    assert file.path.read_bytes() == b"content"
    with pytest.raises(PermissionError):
        Path(file.path).write_bytes(b"other")
