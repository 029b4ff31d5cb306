"""Checkpoints: a thread of each worker moves pages from SQLite's WAL into the database file.

Without it a commit would do so once the WAL is long, and a prediction in some hundreds would take
tens of milliseconds, or more while training keeps the disk busy.
"""

from __future__ import annotations

import logging
import threading

from core.errors import StoreError
from core.store.database import Database
from core.system.priority import yield_to_others

log = logging.getLogger(__name__)


class Checkpoints:
    """A thread of low priority."""

    def __init__(self, db: Database, every_s: float = 1.0) -> None:
        """In a second come some hundred predictions, few enough for a checkpoint between two."""
        self._db = db
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        if self._db.is_sqlite:  # PostgreSQL checkpoints by itself
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        yield_to_others()
        while not self._stop.wait(self._every_s):
            try:
                self._db.checkpoint()
            except StoreError as error:
                log.warning("checkpoint.failed", extra={"error": str(error)})
