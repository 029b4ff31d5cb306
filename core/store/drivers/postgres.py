"""PostgreSQL by URL: how long its driver waits, also with PgBouncer before it.

libpq has no limit for an answer, and a server that is frozen or cut off may never give one. So the
driver's own wait has a limit. It needs no setting of the session, which PgBouncer would refuse or
leave to another client.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event

from core.store.drivers.time_limits import TimeLimits

_CANCEL_WITHIN_S = 1.0


def create(url: URL, limits: TimeLimits) -> Engine:
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=8,
        max_overflow=8,
        pool_timeout=limits.connect_s,
        connect_args={
            "connect_timeout": max(1, round(limits.connect_s)),
            # A host that is gone without a word is noticed soon, instead of in two hours.
            "tcp_user_timeout": round(limits.answer_s * 1000),
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            # PgBouncer gives each transaction another session, which has not prepared it.
            "prepare_threshold": None,
        },
    )

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, args: Any, options: Any) -> _PatientConnection:
        connection = _PatientConnection.connect(*args, **options)
        connection.answer_s = limits.answer_s
        return connection

    return engine


@contextlib.contextmanager
def unlimited(conn: Connection) -> Iterator[None]:
    """Statements within the context may take as long as they need."""
    connection = conn.connection.driver_connection
    assert isinstance(connection, _PatientConnection)
    before, connection.answer_s = connection.answer_s, None
    try:
        yield
    finally:
        connection.answer_s = before


class _PatientConnection(psycopg.Connection[Any]):
    """A connection that is given up when an answer takes too long."""

    answer_s: float | None = None

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        if self.answer_s is None:
            return super().wait(gen, *args, **options)
        return super().wait(self._within(gen, self.answer_s), *args, **options)

    def _within(self, gen: Generator[Any, Any, Any], limit_s: float) -> Generator[Any, Any, Any]:
        """The same generator, until time is up. The driver resumes it every tenth of a second."""
        deadline = time.monotonic() + limit_s
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > deadline:
                    self._give_up()
                    raise psycopg.OperationalError(f"no answer for {limit_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value

    def _give_up(self) -> None:
        """Cancel what the server does, if it listens, and close: the answer may still come."""
        with contextlib.suppress(psycopg.Error):
            self.cancel_safe(timeout=_CANCEL_WITHIN_S)
        self.pgconn.finish()
