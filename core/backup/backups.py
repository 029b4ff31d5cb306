"""A backup: the database of one moment, and every blob that existed then.

    backups/<id>.json        what a backup consists of; written last, so it is whole
    backups/<id>.blobs.gz    the digests of its blobs, one a line
    databases/<sha256>       its database, as a SQLite file
    blobs/<ab>/<sha256>      the blobs of all backups, each once

The database is copied first. A blob is written before the row that names it, so each blob that the
copied database names exists when the blobs are listed. The next backup copies new blobs only.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ValidationError

from core.backup.database_copy import copy_out
from core.backup.pace import Pace
from core.backup.place import Place
from core.errors import BlobMissing, ChecksumMismatch, InvalidRequest, StoreError
from core.release import release
from core.store import schema
from core.store.blobs import is_digest
from core.store.store import Store

_RECORDS = "backups"
_DATABASES = "databases"
_BLOBS = "blobs"
# Larger blobs are models.
_LARGE_BYTES = 32_000_000
# Called with what is done and what there is to do.
Progress = Callable[[str, int, int], None]


class Backup(BaseModel, frozen=True, extra="forbid"):
    """The record of one backup."""

    id: str
    made_at: float
    release: str
    schema_revision: str
    database: str
    database_bytes: int
    num_blobs: int


@dataclass(slots=True)
class Made:
    backup: Backup
    num_new: int = 0
    new_bytes: int = 0
    # The digests of blobs whose bytes differ from their name. They are not in the backup.
    damaged: list[str] = field(default_factory=list)


def make(store: Store, place: Place, now: float, pace: Pace, progress: Progress) -> Made:
    """Back up while the service runs. If it is interrupted, earlier backups stay whole, and the
    next one goes on from what was copied. Raises StoreError."""
    with _scratch() as folder:
        database = folder / "database"
        progress("database", 0, 1)
        copy_out(store.db, database, pace)
        digest, num_bytes = sha256_of(database), database.stat().st_size
        made = Made(_record(now, digest, num_bytes, num_blobs=0))
        digests = sorted(store.blobs.digests())
        there = {name.rpartition("/")[2] for name in place.names(_BLOBS)}
        kept = [blob for blob in digests if blob in there]
        for i, blob in enumerate(new := [blob for blob in digests if blob not in there]):
            progress("blobs", i, len(new))
            if _copy_blob(store, place, blob, pace, made):
                kept.append(blob)
        progress("blobs", len(new), len(new))
        place.put(database, f"{_DATABASES}/{digest}")
        made.backup = _record(now, digest, num_bytes, len(kept))
        _write_record(place, folder, made.backup, kept)
    return made


def _record(now: float, digest: str, num_bytes: int, num_blobs: int) -> Backup:
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    return Backup(
        id=moment.strftime("%Y-%m-%dT%H-%M-%S.%fZ"),
        made_at=now,
        release=release(),
        schema_revision=schema.REVISION,
        database=digest,
        database_bytes=num_bytes,
        num_blobs=num_blobs,
    )


def _copy_blob(store: Store, place: Place, digest: str, pace: Pace, made: Made) -> bool:
    """Return whether it was copied. A blob that retention deleted meanwhile is not missed."""
    try:
        with _as_file(store, digest) as file:
            num_bytes = file.stat().st_size
            place.put(file, _blob(digest))
    except BlobMissing:
        return False
    except ChecksumMismatch:
        made.damaged.append(digest)
        return False
    made.num_new += 1
    made.new_bytes += num_bytes
    pace.spend(num_bytes)
    return True


@contextmanager
def _as_file(store: Store, digest: str) -> Iterator[Path]:
    if store.blobs.size(digest) > _LARGE_BYTES:
        with store.blobs.file(digest) as file:
            yield file
        return
    # Not by `file`, which keeps copies of an object store's blobs: images would push versions out.
    with _scratch() as folder:
        (folder / "blob").write_bytes(store.blobs.get(digest))
        yield folder / "blob"


def _write_record(place: Place, folder: Path, backup: Backup, digests: list[str]) -> None:
    listed, record = folder / "digests", folder / "record"
    listed.write_bytes(gzip.compress("\n".join(digests).encode(), mtime=0))
    place.put(listed, f"{_RECORDS}/{backup.id}.blobs.gz")
    record.write_text(backup.model_dump_json(indent=2), encoding="utf-8")
    place.put(record, f"{_RECORDS}/{backup.id}.json")


def read_all(place: Place) -> list[Backup]:
    """The backups of a place, oldest first. Raises StoreError."""
    names = sorted(name for name in place.names(_RECORDS) if name.endswith(".json"))
    return [_read(place, name) for name in names]


def find(place: Place, wanted: str | None) -> Backup:
    """The newest backup, or the one whose id begins so. Raises InvalidRequest, StoreError."""
    backups = read_all(place)
    if not backups:
        raise InvalidRequest("there is no backup in that place; make one with `evergreen backup`")
    if wanted is None:
        return backups[-1]
    found = [backup for backup in backups if backup.id.startswith(wanted)]
    if len(found) != 1:
        raise InvalidRequest(
            f"{len(found)} backups have an id that begins with {wanted!r}; name one of "
            + ", ".join(backup.id for backup in backups[-10:])
        )
    return found[0]


def _read(place: Place, name: str) -> Backup:
    with _scratch() as folder:
        place.get(name, folder / "record")
        try:
            return Backup.model_validate_json((folder / "record").read_bytes())
        except ValidationError as error:
            raise StoreError(
                f"{name} is no record of a backup that this release can read; use the release "
                "that made it"
            ) from error


def digests_of(place: Place, backup: Backup) -> list[str]:
    """The blobs of a backup. Raises StoreError."""
    with _scratch() as folder:
        listed = folder / "digests"
        place.get(f"{_RECORDS}/{backup.id}.blobs.gz", listed)
        try:
            digests = gzip.decompress(listed.read_bytes()).decode().split()
        except (OSError, EOFError, ValueError) as error:
            raise StoreError(f"the list of blobs of backup {backup.id} is damaged") from error
    if len(digests) != backup.num_blobs or not all(map(is_digest, digests)):
        raise StoreError(f"the list of blobs of backup {backup.id} is damaged")
    return digests


def database_of(place: Place, backup: Backup, file: Path) -> None:
    """Copy the database of a backup out, and check it. Raises StoreError, ChecksumMismatch."""
    _get(place, f"{_DATABASES}/{backup.database}", backup.database, file)


def blob_of(place: Place, digest: str, file: Path) -> None:
    """Copy a blob out, and check it. Raises StoreError, ChecksumMismatch."""
    _get(place, _blob(digest), digest, file)


def _get(place: Place, name: str, digest: str, file: Path) -> None:
    place.get(name, file)
    actual = sha256_of(file)
    if actual != digest:
        raise ChecksumMismatch(f"{name} in the backup is damaged: its bytes have digest {actual}")


def prune(place: Place, keep: int) -> int:
    """Delete all backups but the newest `keep`, then what none of those needs. Returns how many
    backups that were. Not while another backup into the place runs. Raises StoreError."""
    backups = read_all(place)
    gone, kept = backups[:-keep], backups[-keep:]
    if not gone:
        return 0
    blobs = {digest for backup in kept for digest in digests_of(place, backup)}
    databases = {backup.database for backup in kept}
    # The records first: a record that is there has all that it names.
    for backup in gone:
        place.delete(f"{_RECORDS}/{backup.id}.json")
        place.delete(f"{_RECORDS}/{backup.id}.blobs.gz")
    for folder, needed in ((_DATABASES, databases), (_BLOBS, blobs)):
        for name in place.names(folder):
            if name.rpartition("/")[2] not in needed:
                place.delete(name)
    return len(gone)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _blob(digest: str) -> str:
    return f"{_BLOBS}/{digest[:2]}/{digest}"


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="evergreen-backup-") as folder:
        yield Path(folder)
