"""The store: the database and the blobs. All other files may be deleted at any time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from core.settings import Settings
from core.store.blobs import Blobs, LocalBlobs, open_blobs
from core.store.database import Database
from core.store.free_disk import FreeDisk
from core.system.files import make_private_folder


@dataclass(frozen=True, slots=True)
class Store:
    db: Database
    blobs: Blobs
    disk: FreeDisk = field(default_factory=FreeDisk)


def open_store(settings: Settings, *, migrate: bool = True) -> Store:
    """Open both, and create or migrate the tables, unless told not to. Raises StoreError."""
    if not (settings.database_url and settings.blob_url):
        with contextlib.suppress(OSError):  # what needs the folder says what is wrong
            make_private_folder(settings.home)
    blobs = open_blobs(settings.resolved_blob_url)
    db = Database(settings.resolved_database_url)
    if migrate:
        db.ensure_schema()
    is_local = isinstance(blobs, LocalBlobs)
    folder = Path(settings.resolved_blob_url.removeprefix("file://")) if is_local else None
    return Store(db, blobs, FreeDisk(folder, settings.min_free_disk_bytes))
