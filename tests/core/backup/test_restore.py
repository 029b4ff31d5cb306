"""Check and restore, from each database into each."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.backup import backups, restore
from core.backup.place import Place
from core.errors import ChecksumMismatch, InvalidRequest
from core.labelling.intake import LabelRequest
from core.settings import Settings
from core.store.store import Store, open_store
from tests.core.backup.conftest import UNBOUNDED, ignore, make, rows
from tests.core.labelled_store import count, current, label
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`


def test_restored_home_has_the_same_rows_and_blobs(
    filled: Store, place: Place, new_home: Store
) -> None:
    before = rows(filled)
    restore.restore(place, make(filled, place).backup, new_home, ignore)
    assert rows(new_home) == before
    assert set(new_home.blobs.digests()) == set(filled.blobs.digests())
    assert sorted(current(new_home)) == sorted(current(filled))


def test_restored_home_numbers_new_labels_after_the_old_ones(
    filled: Store, place: Place, new_home: Store
) -> None:
    restore.restore(place, make(filled, place).backup, new_home, ignore)
    label(new_home, LabelRequest("cat"), images.png(24, 20, 99))
    assert count(new_home) == count(filled) + 1
    assert count(new_home, "examples") == count(filled, "examples") + 1


@pytest.mark.parametrize("what", ["blobs", "databases"])
def test_verify_names_what_is_damaged_and_what_is_missing(
    filled: Store, place: Place, tmp_path: Path, what: str
) -> None:
    made = make(filled, place).backup
    assert restore.verify(place, made, UNBOUNDED, ignore).problems == []
    name = place.names(what)[0]
    path = tmp_path / "backups" / name
    path.write_bytes(b"x" + path.read_bytes()[1:])
    [problem] = restore.verify(place, made, UNBOUNDED, ignore).problems
    assert name in problem
    assert "is damaged" in problem
    path.unlink()
    assert restore.verify(place, made, UNBOUNDED, ignore).problems == [f"the backup has no {name}"]


def test_restore_goes_on_without_a_lost_blob_and_names_it(
    filled: Store, place: Place, new_home: Store, tmp_path: Path
) -> None:
    made = make(filled, place).backup
    name = place.names("blobs")[0]
    (tmp_path / "backups" / name).unlink()
    restored = restore.restore(place, made, new_home, ignore)
    assert restored.problems == [f"the backup has no {name}"]
    assert rows(new_home) == rows(filled)


def test_damaged_database_is_not_restored(
    filled: Store, place: Place, new_home: Store, tmp_path: Path
) -> None:
    made = make(filled, place).backup
    path = tmp_path / "backups" / place.names("databases")[0]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ChecksumMismatch, match=r"databases/.* is damaged"):
        restore.restore(place, made, new_home, ignore)
    assert count(new_home, "versions") == 0


def test_restore_into_a_used_home_is_refused(filled: Store, place: Place) -> None:
    made = make(filled, place).backup
    with pytest.raises(InvalidRequest, match="restore into an empty home"):
        restore.restore(place, made, filled, ignore)


def test_backup_of_a_newer_release_is_refused(filled: Store, place: Place, new_home: Store) -> None:
    newer = make(filled, place).backup.model_copy(update={"schema_revision": "9999"})
    with pytest.raises(InvalidRequest, match=r"schema 9999.*with release"):
        restore.restore(place, newer, new_home, ignore)


def test_object_store_holds_a_backup_as_a_folder_does(filled: Store, tmp_path: Path) -> None:
    place = Place("memory://backups")
    made = make(filled, place).backup
    new = open_store(Settings(home=tmp_path / "restored"))
    restore.restore(place, made, new, ignore)
    assert rows(new) == rows(filled)
    new.blobs.put(b"more")
    make(new, place, 2_000_000.0)
    new.db.close()
    assert backups.prune(place, keep=1) == 1
    assert len(place.names("databases")) == 1
