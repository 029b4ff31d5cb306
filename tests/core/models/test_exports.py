"""Composed models are made once, checked, and bounded in number."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from core.errors import StoreError
from core.models import exports
from core.models.exports import Exports
from tests.support import concurrency


def _never() -> bytes:
    raise AssertionError("composed again")


def test_model_is_composed_once_by_many_readers(tmp_path: Path) -> None:
    cache = Exports(tmp_path / "exports", "1.0")
    num_composed, counting = 0, threading.Lock()

    def compose() -> bytes:
        nonlocal num_composed
        with counting:
            num_composed += 1
        return b"model"

    assert cache.known("aa") is None
    found = concurrency.in_threads(8, lambda _: cache.get("aa", compose))
    assert num_composed == 1
    assert set(found) == {cache.known("aa")}
    assert found[0].path.read_bytes() == b"model"
    assert found[0].sha256 == hashlib.sha256(b"model").hexdigest()


def test_another_process_takes_the_file_and_another_release_does_not(tmp_path: Path) -> None:
    made = Exports(tmp_path, "1.0").get("aa", lambda: b"model")
    assert Exports(tmp_path, "1.0").get("aa", _never) == made
    assert Exports(tmp_path, "1.1").get("aa", lambda: b"other") != made


@pytest.mark.parametrize("damage", [b"", b"modex", None])
def test_damaged_file_is_composed_again(tmp_path: Path, damage: bytes | None) -> None:
    path = Exports(tmp_path, "1.0").get("aa", lambda: b"model").path
    path.unlink() if damage is None else path.write_bytes(damage)
    again = Exports(tmp_path, "1.0").get("aa", lambda: b"model")
    assert again.path.read_bytes() == b"model"


def test_oldest_files_make_room(tmp_path: Path) -> None:
    cache = Exports(tmp_path, "1.0")
    for i in range(exports.MAX_FILES + 3):
        cache.get(f"{i:02}", lambda: b"model")
    assert len(list(tmp_path.iterdir())) == exports.MAX_FILES
    assert cache.known("00") is None
    assert cache.known("10") is not None


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="5 bytes cannot be kept"):
        Exports(tmp_path / "file", "1.0").get("aa", lambda: b"model")
