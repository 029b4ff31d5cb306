"""The store: the database and the blobs. All other files may be deleted at any time."""

from __future__ import annotations

from dataclasses import dataclass

from core.settings import Settings
from core.store.blobs import Blobs, open_blobs
from core.store.database import Database


@dataclass(frozen=True, slots=True)
class Store:
    db: Database
    blobs: Blobs


def open_store(settings: Settings) -> Store:
    """Open both, and create or migrate the tables. Raises StoreError."""
    blobs = open_blobs(settings.resolved_blob_url)
    db = Database(settings.resolved_database_url)
    db.ensure_schema()
    return Store(db, blobs)
