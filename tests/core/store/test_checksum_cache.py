"""A large file is read once on a machine, as long as nobody touches it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from core.errors import ChecksumMismatch, StoreError
from core.settings import Settings
from core.store.blobs import LocalBlobs
from core.store.checksum_cache import Verified
from core.store.store import open_store

CONTENT = os.urandom(1 << 20)


class Machine:
    """Its processes, each with a store of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.path = folder / "shared" / "here.verified"
        self.num_read = 0
        self.now = 1_700_000_000.0
        read = hashlib.file_digest

        def counted(file: object, name: str) -> object:
            self.num_read += 1
            return read(file, name)  # type: ignore[arg-type]

        monkeypatch.setattr(hashlib, "file_digest", counted)

    def process(self) -> LocalBlobs:
        return LocalBlobs(self.folder / "blobs", Verified(self.path, lambda: self.now))

    def open(self, digest: str) -> Path:
        with self.process().file(digest) as path:
            return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_the_next_process_does_not_read_it_again(machine: Machine) -> None:
    digest = machine.process().put(CONTENT)
    for _ in range(3):
        assert machine.open(digest).read_bytes() == CONTENT
    assert machine.num_read == 1
    assert machine.path.stat().st_mode & 0o077 == 0, "nobody else writes it"


def test_what_was_written_is_not_taken_for_read(machine: Machine) -> None:
    machine.open(machine.process().put(CONTENT))
    assert machine.num_read == 1


@pytest.mark.parametrize("damage", ["flipped", "cut", "replaced"])
def test_damage_since_is_found(machine: Machine, damage: str) -> None:
    digest = machine.process().put(CONTENT)
    path = machine.open(digest)
    before = path.stat()
    if damage == "replaced":
        path.unlink()
        path.write_bytes(CONTENT[::-1])
    else:
        with path.open("r+b") as file:
            if damage == "cut":
                file.truncate(len(CONTENT) - 1)
            else:
                file.write(bytes([CONTENT[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if nothing had been
    with pytest.raises(ChecksumMismatch, match="is damaged"):
        machine.open(digest)
    with pytest.raises(ChecksumMismatch):
        machine.open(digest)


def test_damaged_while_it_was_read_is_damaged_since(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = machine.process().put(CONTENT)
    read = hashlib.file_digest

    def then_damaged(file: object, name: str) -> object:
        found = read(file, name)  # type: ignore[arg-type]
        (machine.folder / "blobs" / digest[:2] / digest).write_bytes(CONTENT[::-1])
        return found

    with monkeypatch.context() as patched:
        patched.setattr(hashlib, "file_digest", then_damaged)
        machine.open(digest)
    with pytest.raises(ChecksumMismatch):
        machine.open(digest)


def test_missing_since_is_missed(machine: Machine) -> None:
    digest = machine.process().put(CONTENT)
    machine.open(digest).unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        machine.open(digest)


@pytest.mark.parametrize("later_s", [61.0, -1.0])
def test_it_is_read_again_later_as_disks_forget(machine: Machine, later_s: float) -> None:
    digest = machine.process().put(CONTENT)
    machine.open(digest)
    machine.now += later_s
    machine.open(digest)
    assert machine.num_read == 2


def test_small_files_are_read_each_time(machine: Machine) -> None:
    digest = machine.process().put(CONTENT[1:])
    machine.open(digest)
    machine.open(digest)
    assert machine.num_read == 2
    assert not machine.path.exists()


def test_only_the_last_few_are_kept(machine: Machine) -> None:
    digests = [machine.process().put(CONTENT + bytes([n])) for n in range(20)]
    for digest in digests:
        machine.open(digest)
    assert len(machine.path.read_text().splitlines()) == 16
    machine.open(digests[-16])
    assert machine.num_read == 20
    machine.open(digests[0])
    assert machine.num_read == 21


def test_where_nothing_can_be_noted_every_file_is_read(machine: Machine) -> None:
    machine.path.parent.touch()  # a file, where the folder should be
    digest = machine.process().put(CONTENT)
    machine.open(digest)
    machine.open(digest)
    assert machine.num_read == 2


@pytest.mark.parametrize("content", [b"", b"nonsense", b"a b c\n\xff\xfe"])
def test_notes_that_make_no_sense_are_written_anew(machine: Machine, content: bytes) -> None:
    machine.path.parent.mkdir()
    machine.path.write_bytes(content)
    digest = machine.process().put(CONTENT)
    machine.open(digest)
    machine.open(digest)
    assert machine.num_read == 1


def test_stores_of_one_home_share_their_notes(machine: Machine, settings: Settings) -> None:
    digest = open_store(settings).blobs.put(CONTENT)
    for _ in range(2):
        with open_store(settings).blobs.file(digest):
            pass
    assert machine.num_read == 1
