"""The store: the database and the blobs together. Everything else may be deleted at any time."""

from __future__ import annotations

from dataclasses import dataclass

from core.settings import Settings
from core.store.blobs import Blobs, open_blobs
from core.store.checksum_cache import Verified
from core.store.database import Database
from core.system.host import this_host


@dataclass(frozen=True, slots=True)
class Store:
    db: Database
    blobs: Blobs


def open_store(settings: Settings) -> Store:
    """Open both, creating or migrating the tables. Raises StoreError."""
    verified = Verified(settings.shared / f"{this_host()}.verified")
    blobs = open_blobs(settings.resolved_blob_url, verified)
    db = Database(settings.resolved_database_url)
    db.ensure_schema()
    return Store(db, blobs)
