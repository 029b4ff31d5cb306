"""The store: the database and the blobs. All other files may be deleted at any time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from core.settings import Settings
from core.store.blobs import Blobs, LocalBlobs, open_blobs
from core.store.database import Database
from core.store.free_disk import FreeDisk


@dataclass(frozen=True, slots=True)
class Store:
    db: Database
    blobs: Blobs
    disk: FreeDisk = field(default_factory=FreeDisk)


def open_store(settings: Settings) -> Store:
    """Open both, and create or migrate the tables. Raises StoreError."""
    blobs = open_blobs(settings.resolved_blob_url)
    db = Database(settings.resolved_database_url)
    db.ensure_schema()
    is_local = isinstance(blobs, LocalBlobs)
    folder = Path(settings.resolved_blob_url.removeprefix("file://")) if is_local else None
    return Store(db, blobs, FreeDisk(folder, settings.min_free_disk_bytes))
