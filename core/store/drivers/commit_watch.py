"""Whether SQLite has committed anything since it was asked last, for a tenth of a query's time."""

from __future__ import annotations

import sqlite3
import threading

from sqlalchemy import Engine


class CommitWatch:
    """A connection that writes nothing. For any thread, one at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        # Marks of two connections are never equal.
        self._num_connections = 0

    def mark(self) -> tuple[int, int]:
        """Equal to the mark before it if no other connection has committed in between
        (sqlite.org/pragma.html#pragma_data_version). Raises what sqlite3 raises."""
        with self._lock:
            if self._connection is None:
                pooled = self._engine.raw_connection()
                connection = pooled.driver_connection
                pooled.detach()
                assert isinstance(connection, sqlite3.Connection)
                self._connection = connection
                self._num_connections += 1
            ((version,),) = self._connection.execute("PRAGMA data_version").fetchall()
            return self._num_connections, int(version)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
