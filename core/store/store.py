"""The store: the database and the blobs. All other files may be deleted at any time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from core.inputs import kinds
from core.inputs.kind import InputKind
from core.settings import Settings
from core.store.blob_cache import BlobCache
from core.store.blobs import Blobs, LocalBlobs
from core.store.database import Database
from core.store.drivers.time_limits import TimeLimits
from core.store.free_disk import FreeDisk
from core.store.home_kind import ensure_kind, read_kind
from core.store.remote_blobs import RemoteBlobs
from core.store.signer import Signer
from core.system.files import make_private_folder


@dataclass(frozen=True, slots=True)
class Store:
    db: Database
    blobs: Blobs
    disk: FreeDisk = field(default_factory=FreeDisk)
    # Signs versions and checks their signatures. None: neither.
    signer: Signer | None = None
    # What the home classifies.
    kind: InputKind = kinds.DEFAULT


def open_store(settings: Settings, *, migrate: bool = True) -> Store:
    """Open both, and create or migrate the tables, unless told not to.

    Raises InvalidRequest if the key file cannot be used or the home has another kind of input,
    MigrationNeeded, StoreError.
    """
    key_file = settings.manifest_key_file
    signer = None if key_file is None else Signer.read(key_file)
    if not (settings.database_url and settings.blob_url):
        with contextlib.suppress(OSError):  # what needs the folder says what is wrong
            make_private_folder(settings.home)
    limits = TimeLimits(settings.store_connect_s, settings.store_timeout_s)
    cache = BlobCache(settings.home / "cache" / "blobs", settings.blob_cache_bytes)
    blobs = open_blobs(settings.resolved_blob_url, limits, cache)
    db = Database(settings.resolved_database_url, limits)
    try:
        if migrate:
            db.ensure_schema()
        kind = (ensure_kind if migrate else read_kind)(db, settings.input)
    except BaseException:
        db.close()
        raise
    is_local = isinstance(blobs, LocalBlobs)
    folder = Path(settings.resolved_blob_url.removeprefix("file://")) if is_local else None
    return Store(db, blobs, FreeDisk(folder, settings.min_free_disk_bytes), signer, kind)


def open_blobs(
    url: str, limits: TimeLimits | None = None, cache: BlobCache | None = None
) -> LocalBlobs | RemoteBlobs:
    """A plain path or `file://` is a local folder, which needs no cache. Any other URL goes through
    fsspec."""
    if "://" not in url or url.startswith("file://"):
        return LocalBlobs(Path(url.removeprefix("file://")))
    return RemoteBlobs(url, limits, cache)
