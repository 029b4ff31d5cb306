"""One contract, held against every blob store."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from core.errors import BlobMissing, ChecksumMismatch, StoreError
from core.store.blobs import Blobs, LocalBlobs
from core.store.remote_blobs import RemoteBlobs
from core.store.store import open_blobs
from tests.support.concurrency import in_threads

CONTENT = b"some bytes \x00\xff" * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ABSENT = "0" * 64


class Local:
    """A local store, and how to reach behind it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs: Blobs = LocalBlobs(root)

    def overwrite(self, digest: str, content: bytes) -> None:
        (self.root / digest[:2] / digest).write_bytes(content)

    def break_writing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)

    def names(self) -> list[str]:
        return [path.name for path in self.root.rglob("*") if path.is_file()]


class Remote:
    def __init__(self) -> None:
        self.remote = RemoteBlobs(f"memory://test-{uuid4()}")
        self.blobs: Blobs = self.remote

    def overwrite(self, digest: str, content: bytes) -> None:
        self.remote._fs.pipe_file(self.remote._path(digest), content)

    def break_writing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class DriversOwnError(Exception):
            pass

        def unreachable(*_: object, **__: object) -> None:
            raise DriversOwnError("could not connect to the endpoint")

        monkeypatch.setattr(self.remote._fs, "pipe_file", unreachable)

    def names(self) -> list[str]:
        return [path.rsplit("/", 1)[1] for path in self.remote._fs.find(self.remote._root)]


@pytest.fixture(params=["local", "remote"])
def behind(request: pytest.FixtureRequest, tmp_path: Path) -> Local | Remote:
    return Local(tmp_path / "blobs") if request.param == "local" else Remote()


@pytest.fixture
def blobs(behind: Local | Remote) -> Blobs:
    return behind.blobs


@pytest.mark.parametrize("content", [CONTENT, b"", bytes(3_000_000)], ids=["some", "none", "3 MB"])
@pytest.mark.parametrize("durable", [True, False])
def test_blob_that_is_put_can_be_read(blobs: Blobs, content: bytes, durable: bool) -> None:
    digest = blobs.put(content, durable=durable)
    assert digest == hashlib.sha256(content).hexdigest()
    assert blobs.has(digest)
    assert blobs.get(digest) == content
    assert blobs.size(digest) == len(content)
    with blobs.file(digest) as path:
        assert path.read_bytes() == content


@pytest.mark.parametrize("durable", [True, False])
def test_put_twice_stores_one_blob(behind: Local | Remote, durable: bool) -> None:
    for _ in range(2):
        assert behind.blobs.put(CONTENT, durable=durable) == DIGEST
    assert behind.names() == [DIGEST]


def test_durable_put_after_another_keeps_the_blob(behind: Local | Remote) -> None:
    behind.blobs.put(CONTENT, durable=False)
    behind.blobs.put(CONTENT, durable=True)
    assert behind.blobs.get(DIGEST) == CONTENT
    assert behind.names() == [DIGEST]


@pytest.mark.parametrize("damaged", [CONTENT[:-1] + b"?", CONTENT[:50], b""])
def test_damaged_blob_is_refused(behind: Local | Remote, damaged: bytes) -> None:
    behind.blobs.put(CONTENT)
    behind.overwrite(DIGEST, damaged)
    with pytest.raises(ChecksumMismatch, match=DIGEST):
        behind.blobs.get(DIGEST)
    with pytest.raises(ChecksumMismatch, match=f"{len(damaged):,} bytes"):
        behind.blobs.file(DIGEST).__enter__()


def test_damage_after_the_first_read_is_found_whatever_the_file_times(tmp_path: Path) -> None:
    local, content = Local(tmp_path), os.urandom(1 << 20)
    digest = local.blobs.put(content)
    with local.blobs.file(digest) as path:
        before = path.stat()
    local.overwrite(digest, content[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ChecksumMismatch, match=digest):
        local.blobs.file(digest).__enter__()


def test_file_of_a_remote_blob_is_removed_after_use() -> None:
    remote = Remote()
    remote.blobs.put(CONTENT)
    with remote.blobs.file(DIGEST) as path:
        assert path.exists()
    assert not path.exists()


Reader = Callable[[Blobs, str], object]
READERS: list[Reader] = [
    lambda blobs, digest: blobs.get(digest),
    lambda blobs, digest: blobs.size(digest),
    lambda blobs, digest: blobs.file(digest).__enter__(),
]


@pytest.mark.parametrize("read", READERS, ids=["get", "size", "file"])
def test_absent_blob_is_missing_and_named(blobs: Blobs, read: Reader) -> None:
    blobs.put(CONTENT)
    assert not blobs.has(ABSENT)
    with pytest.raises(BlobMissing, match=ABSENT):
        read(blobs, ABSENT)


@pytest.mark.parametrize("read", READERS, ids=["get", "size", "file"])
def test_no_blob_is_called_missing_while_the_whole_store_is_empty(
    behind: Local | Remote, read: Reader
) -> None:
    with pytest.raises(StoreError, match="empty or gone"):  # as on a disk that is not mounted
        read(behind.blobs, ABSENT)


def test_no_blob_is_called_missing_while_its_folder_is_gone(tmp_path: Path) -> None:
    local = Local(tmp_path / "blobs")
    local.blobs.put(CONTENT)
    local.root.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        local.blobs.get(DIGEST)


def test_failed_write_leaves_nothing_behind(
    behind: Local | Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        behind.break_writing(broken)
        with pytest.raises(StoreError, match="cannot be written"):
            behind.blobs.put(CONTENT)
    assert behind.names() == []
    assert not behind.blobs.has(DIGEST)
    behind.blobs.put(CONTENT)
    assert behind.blobs.get(DIGEST) == CONTENT


def test_delete_twice_is_no_error(blobs: Blobs) -> None:
    blobs.put(CONTENT)
    blobs.delete(DIGEST)
    blobs.delete(DIGEST)
    assert not blobs.has(DIGEST)


def test_file_of_a_remote_blob_that_cannot_be_written_is_a_store_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remote = Remote()
    remote.blobs.put(CONTENT)
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    with pytest.raises(StoreError, match="temporary file"):
        remote.blobs.file(DIGEST).__enter__()


def test_blob_that_many_threads_put_concurrently_is_whole(behind: Local | Remote) -> None:
    content = os.urandom(200_000)
    digests = in_threads(8, lambda i: behind.blobs.put(content, durable=i % 2 == 0))
    assert len(set(digests)) == 1
    assert behind.blobs.get(digests[0]) == content
    assert behind.names() == [digests[0]]


def test_driver_error_of_its_own_class_is_a_store_error(monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Remote()
    remote.blobs.put(CONTENT)

    def unreachable(*_: object, **__: object) -> None:
        raise RuntimeError("could not connect to the endpoint")

    for name in ("cat_file", "exists", "rm_file"):
        monkeypatch.setattr(remote.remote._fs, name, unreachable, raising=True)
    for use in (remote.blobs.get, remote.blobs.has, remote.blobs.delete):
        with pytest.raises(StoreError, match="could not connect"):
            use(DIGEST)


def test_durable_put_fsyncs_the_file_and_both_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsynced = []
    monkeypatch.setattr(os, "fsync", lambda fd: fsynced.append(os.readlink(f"/proc/self/fd/{fd}")))
    blobs = LocalBlobs(tmp_path)
    blobs.put(CONTENT, durable=False)
    assert fsynced == []
    blobs.put(CONTENT, durable=True)
    assert fsynced[0].startswith(str(tmp_path / DIGEST[:2] / ".new-"))
    assert fsynced[1:] == [str(tmp_path / DIGEST[:2]), str(tmp_path)]


def test_put_repairs_a_blob_that_was_cut_off(tmp_path: Path) -> None:
    local = Local(tmp_path)
    local.blobs.put(CONTENT, durable=False)
    local.overwrite(DIGEST, b"")
    local.blobs.put(CONTENT, durable=False)
    assert local.blobs.get(DIGEST) == CONTENT


def test_url_chooses_the_store(tmp_path: Path) -> None:
    assert isinstance(open_blobs(str(tmp_path / "plain")), LocalBlobs)
    assert isinstance(open_blobs(f"file://{tmp_path / 'file'}"), LocalBlobs)
    assert (tmp_path / "file").is_dir()
    assert isinstance(open_blobs("memory://bucket/folder"), RemoteBlobs)


@pytest.mark.parametrize("url", ["nosuchstore://bucket", "{file}/blobs"])
def test_unusable_store_is_a_store_error(url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be"):
        open_blobs(url.format(file=tmp_path / "file"))
