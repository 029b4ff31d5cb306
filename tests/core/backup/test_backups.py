"""Back up, find and prune."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from core.backup import backups, restore
from core.backup.pace import Pace
from core.backup.place import Place
from core.errors import InvalidRequest, StoreError
from core.store.store import Store
from tests.core.backup.conftest import UNBOUNDED, ignore, make
from tests.core.labelled_store import count, predict
from tests.support import images, tiny


def test_next_backup_copies_new_blobs_only(filled: Store, place: Place) -> None:
    assert make(filled, place).num_new > 3
    assert make(filled, place, 1_000_001.0).num_new == 0
    third = filled.blobs.put(b"another")
    made = make(filled, place, 1_000_002.0)
    assert (made.num_new, made.new_bytes) == (1, len(b"another"))
    assert third in backups.digests_of(place, made.backup)


def test_writes_during_the_copy_are_not_in_it(sqlite_store: Store, place: Place) -> None:
    tiny.publish(sqlite_store)
    with sqlite_store.db.write() as conn:
        conn.exec_driver_sql("CREATE TABLE padding AS SELECT zeroblob(4000000) AS bytes")
    parts = []

    class WritingMeanwhile(Pace):
        def spend(self, num_bytes: int) -> None:
            parts.append(num_bytes)
            predict(sqlite_store, images.png(24, 20, len(parts)))

    made = backups.make(sqlite_store, place, 1.0, WritingMeanwhile(0), ignore)
    assert len(parts) > 3
    copy = Path(place.names("databases")[0])
    assert copy.name == made.backup.database
    assert count(sqlite_store, "predictions") >= 4
    assert made.num_new >= 4  # the blobs are listed after the database is copied


def test_damaged_blob_is_reported_and_the_rest_is_backed_up(
    filled: Store, place: Place, tmp_path: Path
) -> None:
    digest = filled.blobs.put(b"another")
    [path] = tmp_path.rglob(digest)
    path.write_bytes(b"anothex")
    made = make(filled, place)
    assert made.damaged == [digest]
    assert restore.verify(place, made.backup, UNBOUNDED, ignore).problems == []


def test_interrupted_backup_is_none_and_the_next_goes_on(filled: Store, place: Place) -> None:
    def stop_at_second(step: str, done: int, _total: int) -> None:
        if (step, done) == ("blobs", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backups.make(filled, place, 1.0, UNBOUNDED, stop_at_second)
    assert backups.read_all(place) == []
    assert make(filled, place).num_new == len(list(filled.blobs.digests())) - 2


def test_prune_keeps_what_the_kept_backups_need(filled: Store, place: Place) -> None:
    old = filled.blobs.put(b"old")
    make(filled, place, 1.0)
    filled.blobs.delete(old)
    predict(filled)
    make(filled, place, 2.0)
    newest = make(filled, place, 3.0).backup
    assert backups.prune(place, keep=2) == 1
    assert [backup.made_at for backup in backups.read_all(place)] == [2.0, 3.0]
    assert old not in {name.rpartition("/")[2] for name in place.names("blobs")}
    assert restore.verify(place, newest, UNBOUNDED, ignore).problems == []
    assert backups.prune(place, keep=2) == 0


def test_backup_is_found_by_the_begin_of_its_id(filled: Store, place: Place) -> None:
    with pytest.raises(InvalidRequest, match="there is no backup"):
        backups.find(place, None)
    first, second = (make(filled, place, now).backup for now in (86_400.0, 200_000.0))
    assert backups.find(place, None) == second
    assert backups.find(place, "1970-01-02") == first
    with pytest.raises(InvalidRequest, match="2 backups"):
        backups.find(place, "1970")


def test_unreadable_records_are_errors(filled: Store, place: Place, tmp_path: Path) -> None:
    made = make(filled, place).backup
    folder = tmp_path / "backups" / "backups"
    (folder / f"{made.id}.blobs.gz").write_bytes(gzip.compress(b"../../etc/passwd"))
    with pytest.raises(StoreError, match="list of blobs"):
        backups.digests_of(place, made)
    (folder / f"{made.id}.json").write_text("{}")
    with pytest.raises(StoreError, match="no record of a backup"):
        backups.read_all(place)


def test_only_the_owner_reads_a_backup(filled: Store, place: Place, tmp_path: Path) -> None:
    make(filled, place)
    for file in (tmp_path / "backups").rglob("*"):
        assert file.is_dir() or file.stat().st_mode & 0o077 == 0


def test_place_that_cannot_be_used_says_so() -> None:
    with pytest.raises(InvalidRequest, match="cannot hold a backup"):
        Place("nothing://folder")


def test_pace_bounds_the_bytes_of_a_second() -> None:
    slept: list[float] = []
    pace = Pace(100.0, clock=lambda: 0.0, sleep=slept.append)
    pace.spend(50)
    pace.spend(100)
    assert slept == [0.5, 1.5]
