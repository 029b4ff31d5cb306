"""Check a backup, and restore it into a new home."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from core.backup import backups
from core.backup.backups import Backup, Progress
from core.backup.database_copy import copy_in, is_empty
from core.backup.pace import Pace
from core.backup.place import Place
from core.errors import ChecksumMismatch, InvalidRequest, StoreError
from core.store import schema
from core.store.store import Store


@dataclass(slots=True)
class Checked:
    num_blobs: int = 0
    # What is absent or damaged, in words.
    problems: list[str] = field(default_factory=list)


def verify(place: Place, backup: Backup, pace: Pace, progress: Progress) -> Checked:
    """Read all of a backup, and compare it with its digests. Raises StoreError if the place cannot
    be read at all."""
    checked = Checked()
    with tempfile.TemporaryDirectory(prefix="evergreen-backup-") as folder:
        file = Path(folder) / "file"
        try:
            backups.database_of(place, backup, file)
            checked.problems += _damage(file)
        except (StoreError, ChecksumMismatch) as error:
            checked.problems.append(str(error))
        digests = backups.digests_of(place, backup)
        for i, digest in enumerate(digests):
            progress("blobs", i, len(digests))
            try:
                backups.blob_of(place, digest, file)
                pace.spend(file.stat().st_size)
                checked.num_blobs += 1
            except (StoreError, ChecksumMismatch) as error:
                checked.problems.append(str(error))
        progress("blobs", len(digests), len(digests))
    return checked


def restore(place: Place, backup: Backup, store: Store, progress: Progress) -> Checked:
    """Fill an empty store. The blobs come first and the database last, so a restore that was
    interrupted can be repeated. Lost blobs are named, and the rest is restored.

    Raises InvalidRequest if the store is not empty or the backup is of a newer release, StoreError,
    ChecksumMismatch if the database is damaged.
    """
    if backup.schema_revision > schema.REVISION:
        raise InvalidRequest(
            f"backup {backup.id} has schema {backup.schema_revision}, this release knows "
            f"{schema.REVISION}; restore it with release {backup.release} or newer"
        )
    with store.db.read() as conn:
        if not is_empty(conn):
            raise InvalidRequest(
                "there are versions, labels or predictions already; restore into an empty home, "
                "named by EVERGREEN_HOME or EVERGREEN_DATABASE_URL"
            )
    restored = Checked()
    with tempfile.TemporaryDirectory(prefix="evergreen-backup-") as folder:
        database, file = Path(folder) / "database", Path(folder) / "file"
        backups.database_of(place, backup, database)
        digests = backups.digests_of(place, backup)
        there = set(store.blobs.digests())
        missing = [digest for digest in digests if digest not in there]
        for i, digest in enumerate(missing):
            progress("blobs", i, len(missing))
            try:
                backups.blob_of(place, digest, file)
            except (StoreError, ChecksumMismatch) as error:
                restored.problems.append(str(error))
                continue
            store.blobs.put(file.read_bytes(), digest=digest)
            restored.num_blobs += 1
        progress("blobs", len(missing), len(missing))
        progress("database", 0, 1)
        copy_in(database, store.db)
    return restored


def _damage(file: Path) -> list[str]:
    """What SQLite finds wrong in a database."""
    try:
        with closing(sqlite3.connect(file)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    return [f"the database is damaged: {text}" for text in found if text != "ok"]
