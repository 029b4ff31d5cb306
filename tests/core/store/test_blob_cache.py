"""Copies of remote blobs on local disk."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from uuid import uuid4

import pytest

from core.errors import StoreError
from core.store.blob_cache import BlobCache
from core.store.remote_blobs import RemoteBlobs
from tests.support.concurrency import in_threads

CONTENT = b"a version's file" * 100
MAX_BYTES = 10_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "blobs"


@pytest.fixture
def cache(folder: Path) -> BlobCache:
    return BlobCache(folder, MAX_BYTES)


@pytest.fixture
def blobs(cache: BlobCache) -> RemoteBlobs:
    return RemoteBlobs(f"memory://test-{uuid4()}", cache=cache)


def add(cache: BlobCache, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    cache.add(digest, content)
    return digest


def stop(blobs: RemoteBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("connection refused")

    monkeypatch.setattr(blobs._fs, "cat_file", refused)


def test_what_is_kept_can_be_read_without_the_store(
    blobs: RemoteBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_get, by_file, other = blobs.put(CONTENT), blobs.put(b"a model"), blobs.put(b"an image")
    assert blobs.get(by_get, keep=True) == CONTENT
    with blobs.file(by_file) as path:
        assert path.read_bytes() == b"a model"
    assert blobs.get(other) == b"an image"
    stop(blobs, monkeypatch)
    for _ in range(2):
        assert blobs.get(by_get, keep=True) == CONTENT
        with blobs.file(by_get) as path:
            assert path.read_bytes() == CONTENT
        assert blobs.get(by_file, keep=True) == b"a model"
    for digest in (other, by_get):  # who does not ask for a copy gets what the store has
        with pytest.raises(StoreError, match="connection refused"):
            blobs.get(digest)


@pytest.mark.parametrize("damage", [CONTENT[:-1] + b"?", CONTENT[:50], b""])
def test_damaged_copy_is_dropped_and_fetched_anew(
    blobs: RemoteBlobs, folder: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    digest = blobs.put(CONTENT)
    blobs.get(digest, keep=True)
    (folder / digest).write_bytes(damage)
    with blobs.file(digest) as path:
        assert path.read_bytes() == CONTENT
    assert [record.getMessage() for record in caplog.records] == ["blob_cache.damaged"]
    assert blobs.get(digest, keep=True) == CONTENT
    assert (folder / digest).read_bytes() == CONTENT


def test_deleted_blob_has_no_copy(blobs: RemoteBlobs, folder: Path) -> None:
    digest = blobs.put(CONTENT)
    blobs.get(digest, keep=True)
    blobs.delete(digest)
    assert list(folder.iterdir()) == []


def test_what_was_used_longest_ago_is_deleted_first(cache: BlobCache, folder: Path) -> None:
    digests = [add(cache, bytes([number]) * 3_000) for number in range(3)]
    for age, digest in enumerate(digests):
        os.utime(folder / digest, (1_000 + age, 1_000 + age))
    assert cache.get(digests[0]) is not None
    digests.append(add(cache, b"x" * 3_000))
    assert [cache.get(digest) is not None for digest in digests] == [True, False, True, True]


def test_blob_above_the_limit_is_not_kept(cache: BlobCache, folder: Path) -> None:
    digest = add(cache, bytes(MAX_BYTES + 1))
    assert cache.get(digest) is None
    assert not folder.exists()
    add(BlobCache(folder, 0), b"x")
    assert not folder.exists()


def test_copy_in_use_outlives_its_deletion(cache: BlobCache) -> None:
    digest = add(cache, CONTENT)
    with cache.file(digest) as path:
        cache.remove(digest)
        assert path is not None
        assert path.read_bytes() == CONTENT
    assert not path.exists()
    assert cache.get(digest) is None


def test_copies_are_private_and_nothing_else_is_left(cache: BlobCache, folder: Path) -> None:
    digest = add(cache, CONTENT)
    assert cache.get(digest) == CONTENT
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600]


def test_file_system_without_hard_links_is_copied_from(
    cache: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_permitted(*_: object) -> None:
        raise PermissionError("hard links are not supported")

    monkeypatch.setattr(os, "link", not_permitted)
    assert cache.get(add(cache, CONTENT)) == CONTENT


def test_folder_that_cannot_be_written_keeps_nothing(
    blobs: RemoteBlobs, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.parent.write_text("in the way")
    digest = blobs.put(CONTENT)
    assert blobs.get(digest, keep=True) == CONTENT
    with blobs.file(digest) as path:
        assert path.read_bytes() == CONTENT
    assert {record.getMessage() for record in caplog.records} == {"blob_cache.unwritable"}


def test_cache_stays_bounded_and_whole_whoever_uses_it(cache: BlobCache, folder: Path) -> None:
    contents = [os.urandom(2_000) for _ in range(8)]

    def use(thread: int) -> None:
        for number in range(20):
            content = contents[(thread + number) % len(contents)]
            assert cache.get(add(cache, content)) in (content, None)

    in_threads(4, use)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MAX_BYTES
    for content in contents:
        assert cache.get(hashlib.sha256(content).hexdigest()) in (content, None)
