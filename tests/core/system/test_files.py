"""Files that are complete or absent."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from core.system.files import (
    delete_unfinished,
    make_private_folder,
    sweep,
    write_whole,
    writing_whole,
)


def test_file_is_replaced_only_when_its_writer_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with writing_whole(path) as unfinished:
        assert unfinished.parent == tmp_path
        unfinished.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_writer_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half() -> None:
        with writing_whole(path) as unfinished:
            unfinished.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_name_that_is_a_folder_leaves_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_whole(tmp_path / "folder", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_file_of_a_killed_writer_is_deleted_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with writing_whole(tmp_path / "other") as unfinished:
        delete_unfinished(tmp_path)
        assert not unfinished.exists()
        unfinished.touch()
    assert {path.name for path in tmp_path.iterdir()} == {"file", "other"}


@pytest.mark.parametrize(("is_private", "mode"), [(True, 0o600), (False, 0o644)])
def test_private_file_is_readable_by_its_owner_only(
    tmp_path: Path, is_private: bool, mode: int
) -> None:
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "file", b"content", is_private=is_private)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_durable_file_is_synced_before_its_name_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    had_its_name = []
    monkeypatch.setattr(os, "fsync", lambda _: had_its_name.append((tmp_path / "file").exists()))
    write_whole(tmp_path / "file", b"content")
    assert had_its_name == []
    (tmp_path / "file").unlink()
    write_whole(tmp_path / "file", b"content", durable=True)
    assert had_its_name == [False]


def test_sweep_deletes_only_what_a_killed_writer_left_long_ago(tmp_path: Path) -> None:
    below = tmp_path / "ab"
    below.mkdir()
    kept, new, old = below / "abcd", below / ".new-1", below / ".new-2"
    for path in (kept, new, old):
        path.write_bytes(b"x")
    folder = tmp_path / ".new-3"
    folder.mkdir()
    (folder / "model.ort").write_bytes(b"x")
    for path in (kept, old, folder):
        os.utime(path, (1e9, 1e9))
    assert sweep(tmp_path, 3600) == 2
    assert set(tmp_path.rglob("*")) == {below, kept, new}
    assert sweep(tmp_path / "absent", 3600) == 0


def test_new_private_folder_is_its_owners_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir(0o755)
    make_private_folder(old)
    make_private_folder(old / "between" / "new")
    assert stat.S_IMODE(old.stat().st_mode) == 0o755
    assert stat.S_IMODE((old / "between" / "new").stat().st_mode) == 0o700
