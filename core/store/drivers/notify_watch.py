"""Whether PostgreSQL has committed a change of what is polled, without a query: triggers notify.

`core/store/migrations/versions/m0009_growth.py` has the triggers. Behind a pooler that gives each
transaction another connection, such as pgbouncer in transaction mode, notifications do not arrive.
That is found out at once, and then each poll is a query.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from sqlalchemy import Engine

CHANNEL = "evergreen"
# A connection that has died without a word is noticed within this time.
_PROVE_EVERY_S = 1.0
_HEARD_WITHIN_S = 0.25
_RETRY_AFTER_S = 600.0
_RECONNECT_AFTER_S = 1.0


class NotifyWatch:
    """A connection that only listens. For any thread, one at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._connection: Any = None
        # Marks of two connections are never equal.
        self._num_connections = 0
        self._num_heard = 0
        self._prove_at = 0.0
        self._connect_at = 0.0

    def mark(self) -> tuple[int, int] | None:
        """Equal to the mark before it if no notification came in between. A change is heard within
        milliseconds, and not always at once. None: unknown."""
        with self._lock:
            now = time.monotonic()
            try:
                if self._connection is None:
                    if now < self._connect_at:
                        return None
                    self._connect_at = now + _RECONNECT_AFTER_S
                    self._connect()
                elif now >= self._prove_at:
                    self._prove_at = now + _PROVE_EVERY_S
                    self._connection.execute("SELECT 1")
                self._num_heard += len(self._heard(0.0))
            except Exception:  # the query that follows raises what is wrong
                self._close()
            if self._connection is None:
                return None
            return self._num_connections, self._num_heard

    def close(self) -> None:
        with self._lock:
            self._close()

    def _connect(self) -> None:
        pooled = self._engine.raw_connection()
        self._connection = pooled.driver_connection
        pooled.detach()
        self._connection.autocommit = True
        self._connection.execute(f"LISTEN {CHANNEL}")
        self._num_connections += 1
        self._prove_at = time.monotonic() + _PROVE_EVERY_S
        if not self._hears_another():
            self._close()
            self._connect_at = time.monotonic() + _RETRY_AFTER_S

    def _hears_another(self) -> bool:
        """Whether what another connection notifies arrives."""
        with self._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as other:
            other.exec_driver_sql(f"NOTIFY {CHANNEL}, 'test'")
        return bool(self._heard(_HEARD_WITHIN_S))

    def _heard(self, timeout_s: float) -> list[Any]:
        """Waits for one, if there is a timeout."""
        stop_after = 1 if timeout_s else None
        return list(self._connection.notifies(timeout=timeout_s, stop_after=stop_after))

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None
