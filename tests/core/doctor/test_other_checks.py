"""The checks of the database and of the home folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from sqlalchemy import text

from core.doctor import database_check, home_check
from core.doctor.findings import Finding
from core.errors import StoreError
from core.labelling import embeddings
from core.registry import versions
from core.settings import Settings
from core.store import schema
from core.store.store import Store
from tests.core.labelled_store import count, label
from tests.core.store.conftest import migrations
from tests.support import tiny


def found(findings: object) -> list[Finding]:
    return [each for each in findings if each.is_problem]  # type: ignore[attr-defined]


def set_revision(store: Store, revision: str) -> None:
    with store.db.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": revision})


def test_schema_of_this_release_is_no_problem(store: Store) -> None:
    assert found(database_check.check_schema(store.db, repair=False)) == []


def test_schema_of_a_newer_release_is_an_error(store: Store) -> None:
    set_revision(store, "9999")
    with pytest.raises(StoreError, match="newer release"):
        list(database_check.check_schema(store.db, repair=True))


def test_older_schema_is_migrated_by_a_repair_only(store: Store) -> None:
    config = migrations()
    with store.db.write() as conn:
        config.attributes["connection"] = conn
        command.downgrade(config, "0007")
    (old,) = found(database_check.check_schema(store.db, repair=False))
    assert "0007" in old.text
    (migrated,) = found(database_check.check_schema(store.db, repair=True))
    if not store.db.is_sqlite:  # which only a person may migrate
        assert not migrated.repaired
        assert "evergreen migrate --backup-is-made" in migrated.remedy
        return
    assert migrated.repaired
    assert store.db.revision() == schema.REVISION


@pytest.mark.parametrize("reads", [True, False])
def test_sound_database_passes(store: Store, reads: bool) -> None:
    label(store)
    assert found(database_check.check_integrity(store.db, reads=reads)) == []


def test_row_without_its_parent_is_found(sqlite_store: Store) -> None:
    label(sqlite_store)
    with sqlite_store.db.execute_once() as conn:
        conn.exec_driver_sql("PRAGMA foreign_keys=OFF")
        conn.exec_driver_sql("DELETE FROM examples")
        conn.exec_driver_sql("PRAGMA foreign_keys=ON")
    (problem,) = found(database_check.check_integrity(sqlite_store.db, reads=True))
    assert "labels names no row of examples" in problem.text


def test_damaged_database_file_is_found(sqlite_store: Store, settings: Settings) -> None:
    label(sqlite_store)
    sqlite_store.db.checkpoint()
    sqlite_store.db.close()
    path = settings.home / "evergreen.db"
    content = bytearray(path.read_bytes())
    content[8192:40960] = b"\xaa" * 32768
    path.write_bytes(bytes(content))
    assert found(database_check.check_integrity(sqlite_store.db, reads=True))


def test_embeddings_of_another_length_are_deleted_by_a_repair(store: Store) -> None:
    number = tiny.publish(store, tiny.make_manifest(store.blobs))
    with store.db.read() as conn:
        backbone = versions.get(conn, number).backbone
    first, second = label(store).event, label(store, image=b_image()).event
    with store.db.write() as conn:
        embeddings.put(conn, backbone, [(first.example_id, np.zeros(4, np.float32))])
        embeddings.put(conn, backbone, [(second.example_id, np.zeros(3, np.float32))])
    (problem,) = found(database_check.check_embeddings(store, repair=False))
    assert "with 6 bytes: 1" in problem.text
    (repaired,) = found(database_check.check_embeddings(store, repair=True))
    assert repaired.repaired
    assert count(store, "embeddings") == 1


def b_image() -> bytes:
    from tests.support import images

    return images.png(24, 20, 77)


def test_database_that_others_may_read_is_made_private(
    sqlite_store: Store, settings: Settings
) -> None:
    path = settings.home / "evergreen.db"
    path.chmod(0o644)
    (problem,) = found(home_check.check_permissions(settings, repair=False))
    assert "644" in problem.text
    assert path.stat().st_mode & 0o777 == 0o600
    assert found(home_check.check_permissions(settings, repair=False)) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every folder")
def test_folder_that_cannot_be_written_is_repaired(sqlite_store: Store, settings: Settings) -> None:
    blobs = Path(settings.resolved_blob_url)
    blobs.chmod(0o500)
    assert found(home_check.check_permissions(settings, repair=False))[0].is_open
    assert not found(home_check.check_permissions(settings, repair=True))[0].is_open
    assert found(home_check.check_permissions(settings, repair=False)) == []


def test_little_free_disk_is_a_problem(sqlite_store: Store, settings: Settings) -> None:
    assert found(home_check.check_disk(settings.model_copy(update={"min_free_disk_mb": 0}))) == []
    full = settings.model_copy(update={"min_free_disk_mb": 1e12})
    assert "EVERGREEN_MIN_FREE_DISK_MB" in found(home_check.check_disk(full))[0].text


def test_old_unfinished_files_are_leftovers_and_new_ones_are_not(
    sqlite_store: Store, settings: Settings
) -> None:
    blobs = Path(settings.resolved_blob_url)
    old, new = blobs / ".new-1", blobs / ".new-2"
    for path in (old, new):
        path.touch()
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    (problem,) = found(home_check.check_leftovers(settings, repair=False))
    assert problem.text.endswith(": 1")
    found(home_check.check_leftovers(settings, repair=True))
    assert (old.exists(), new.exists()) == (False, True)


def test_waiting_predictions_are_a_fact(sqlite_store: Store, settings: Settings) -> None:
    (settings.home / "spool").mkdir()
    (settings.home / "spool" / ("a" * 36)).touch()
    (fact,) = home_check.check_leftovers(settings, repair=False)
    assert not fact.is_problem
    assert fact.text.endswith(": 1")


def test_damaged_caches_are_deleted_by_a_repair(settings: Settings) -> None:
    exports, ort = (settings.home / "cache" / name for name in ("exports", "ort"))
    for folder in (exports, ort):
        folder.mkdir(parents=True)
    damaged = [exports / f"m-1-{'0' * 64}.onnx", ort / "a.ort", ort / "b.ort"]
    for path in damaged:
        path.write_bytes(b"other")
    damaged[1].with_suffix(".json").write_text('{"sha256": "00"}')
    os.utime(damaged[2], (0, 0))  # without the file beside it, and not new
    assert len(found(home_check.check_caches(settings, repair=False))) == 3
    assert all(each.repaired for each in home_check.check_caches(settings, repair=True))
    assert found(home_check.check_caches(settings, repair=False)) == []
