"""The store: the database and the blobs. All other files may be deleted at any time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from core.settings import Settings
from core.store.blobs import Blobs, open_blobs
from core.store.database import Database
from core.system.files import make_private_folder


@dataclass(frozen=True, slots=True)
class Store:
    db: Database
    blobs: Blobs


def open_store(settings: Settings) -> Store:
    """Open both, and create or migrate the tables. Raises StoreError."""
    if not (settings.database_url and settings.blob_url):
        with contextlib.suppress(OSError):  # what needs the folder says what is wrong
            make_private_folder(settings.home)
    blobs = open_blobs(settings.resolved_blob_url)
    db = Database(settings.resolved_database_url)
    db.ensure_schema()
    return Store(db, blobs)
