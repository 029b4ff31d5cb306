"""The keys in force, as a process knows them.

They are read again when a request comes and the last read is older than FRESH_S, so an idle process
asks the database nothing. While the database is away, the keys that are known go on working for
KEPT_S, and none can be revoked.
"""

from __future__ import annotations

import logging
import math
import time
from concurrent.futures import Future, wait

from core.access import keys
from core.access.keys import NOBODY, Key
from core.errors import StoreError
from core.store.database import Database
from core.system.daemon_pool import DaemonPool

#: With PATIENCE_S below a second: within it, a change is in force everywhere.
FRESH_S = 0.5
#: A request waits for the database no longer than this.
PATIENCE_S = 0.25
KEPT_S = 24 * 3600.0
_RETRY_AFTER_S = 1.0

log = logging.getLogger(__name__)


class KeyRing:
    def __init__(self, db: Database, file_key: Key | None = None) -> None:
        """`file_key` is in force beside those in the database."""
        self._db = db
        self.clock = db.clock
        self._file_key = file_key
        self._by_id: dict[str, Key] = {} if file_key is None else {file_key.id: file_key}
        self._marker: tuple[int, int] | None = None
        self._read_at = -math.inf
        self._fresh_until = -math.inf
        self._reader = DaemonPool(1, "keys")
        self._reading: Future[None] | None = None
        # When each was last used, of those whose row does not say so yet.
        self._used: dict[str, float] = {}
        self._writer = DaemonPool(1, "key-use")
        self._writing: Future[None] | None = None
        self._write_at = 0.0

    @property
    def is_stale(self) -> bool:
        """`renew` must be waited for first."""
        return time.monotonic() > self._fresh_until

    def renew(self) -> Future[None]:
        """Read the keys in a thread, or join the read under way. It never fails. One event loop
        calls it."""
        if self._reading is None or self._reading.done():
            self._reading = self._reader.submit(self._read)
        return self._reading

    def go_on(self) -> None:
        """Use the keys that are known, because the database does not answer in time."""
        self._fresh_until = time.monotonic() + _RETRY_AFTER_S

    @property
    def has_keys(self) -> bool:
        """Whether a key was ever made. Raises StoreError if that is not known any more."""
        if self._file_key is not None:
            return True
        if time.monotonic() > self._read_at + KEPT_S:
            raise StoreError("the keys cannot be read, and were last read too long ago")
        return self._marker != (0, 0)

    def find(self, key: str, now: float) -> Key | None:
        """The row of a key in force. Raises StoreError as `has_keys` does."""
        row = self._by_id.get(keys.id_of(key) or "", NOBODY)
        if not keys.is_same(row, key):
            return None
        return self.in_force(row.id, now)

    def in_force(self, identity: str, now: float) -> Key | None:
        """Raises StoreError as `has_keys` does."""
        row = self._by_id.get(identity)
        if row is None or not row.is_usable(now):
            return None
        if row is not self._file_key:
            _ = self.has_keys
            self._used[identity] = now
        return row

    def stop(self) -> None:
        """Wait a moment for what is being written."""
        if self._writing is not None:
            wait([self._writing], timeout=5)

    def _read(self) -> None:
        began = time.monotonic()
        try:
            with self._db.read() as conn:
                marker = keys.marker(conn)
                if marker != self._marker:
                    rows = {row.id: row for row in keys.not_revoked(conn)}
                    if self._file_key is not None:
                        rows[self._file_key.id] = self._file_key
                    self._by_id, self._marker = rows, marker
        except StoreError as error:
            log.warning("keys.store_unavailable", extra={"error": str(error)})
            self.go_on()
            return
        self._read_at, self._fresh_until = began, began + FRESH_S
        if self._used and began > self._write_at:
            self._write_at = began + keys.USED_EVERY_S
            used, self._used = self._used, {}
            self._writing = self._writer.submit(self._note_use, used)

    def _note_use(self, used: dict[str, float]) -> None:
        """In a thread of its own, because SQLite's lock may be held for seconds."""
        try:
            with self._db.write(durable=False) as conn:
                for identity, now in used.items():
                    keys.note_use(conn, identity, now)
        except StoreError as error:
            log.warning("keys.store_unavailable", extra={"error": str(error)})
