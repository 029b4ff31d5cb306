"""The database: SQLite in WAL mode by default, PostgreSQL by URL.

Transactions that read and those that write are separate. On SQLite, one that writes takes the lock
when it begins, so nothing that it reads changes before it writes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Select,
    Table,
    create_engine,
    insert,
    text,
)

from core.errors import StoreError
from core.store import migration, schema
from core.store.clock import DatabaseClock
from core.store.drivers import sqlite
from core.store.drivers.commit_watch import CommitWatch
from core.store.drivers.errors import as_store_error, parse_url
from core.store.drivers.notify_watch import NotifyWatch
from core.store.drivers.time_limits import TimeLimits

# Any constant, the same in every process.
_MIGRATION_LOCK = 7_140_221


class Database:
    def __init__(
        self,
        url: str,
        limits: TimeLimits | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Connects when it is first used. `wall` is this machine's clock. Raises StoreError if the
        URL cannot be used."""
        limits = limits or TimeLimits()
        parsed = parse_url(url)
        self.clock = DatabaseClock(wall)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._wal: sqlite.WriteAheadLog | None = None
        self._raw: sqlite.RawConnection | None = None
        self._watch: CommitWatch | NotifyWatch | None = None
        if self.is_sqlite:
            self._engine = sqlite.create(parsed, limits.answer_s)
            self._wal = sqlite.WriteAheadLog(Path(parsed.database or ""))
            self._raw = sqlite.RawConnection(self._engine, limits.answer_s)
            self._watch = CommitWatch(self._engine)
            self._reader = self._engine.execution_options(begin="BEGIN")
            self._single = self._engine.execution_options(begin="")
        else:
            self._engine = _create_remote(parsed, limits)
            # With "read committed" each statement would see the rows of another moment.
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ")
            self._single = self._engine.execution_options(isolation_level="AUTOCOMMIT")
            if parsed.get_driver_name() == "psycopg":
                self._watch = NotifyWatch(self._engine)
        self._writer = self._engine.execution_options(begin=sqlite.WRITING)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: all of it sees the rows of one moment."""
        with as_store_error(self._engine), self._reader.connect() as conn:
            yield conn

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """One transaction: all of it or nothing.

        With `durable` it is fsynced once this returns; without, it survives a crash of the process
        but not a power cut (SQLite; PostgreSQL is always durable).
        """
        with as_store_error(self._engine), self._writer.begin() as conn:
            yield conn
        if durable:
            self.fsync_wal()

    def fsync_wal(self) -> None:
        """Make durable what any process has committed so far. No lock is held meanwhile."""
        if self._wal is not None:
            self._wal.fsync()

    @contextlib.contextmanager
    def execute_once(self) -> Iterator[Connection]:
        """For one statement, not durable. SQLite's write lock is held only while that statement
        runs, so a thread of low priority does not hold it while it waits for a CPU."""
        with as_store_error(self._engine), self._single.begin() as conn:
            yield conn

    def fetch_row(self, query: Select[Any]) -> tuple[Any, ...]:
        """The only row of a query, without a transaction around it."""
        with as_store_error(self._engine), self._single.connect() as conn:
            return tuple(conn.execute(query).one())

    def commit_mark(self) -> tuple[int, int] | None:
        """Equal to the mark before it if nothing was committed in between. It costs far less than
        a query. PostgreSQL's may be some milliseconds late. None: the database cannot tell."""
        if self._watch is None:
            return None
        with as_store_error(self._engine):
            return self._watch.mark()

    def insert_rows(
        self, table: Table, rows: Sequence[tuple[Any, ...]], patience_s: float | None = None
    ) -> None:
        """Insert rows of all columns, in their order, in one transaction that is not durable. For
        rows that come with every prediction: it costs less than `write`. It waits for SQLite's lock
        for `patience_s`, and without it as long as other writes do."""
        if self._raw is not None:
            with as_store_error(self._engine):
                self._raw.insert(table, rows, patience_s)
            return
        names = table.columns.keys()
        with self.write(durable=False) as conn:
            conn.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])

    def checkpoint(self) -> None:
        """Move what was committed from SQLite's WAL into its file. Waits for nobody."""
        if self.is_sqlite:
            with self.execute_once() as conn:
                conn.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").close()

    def revision(self) -> str | None:
        """Of the tables; None: there are none."""
        with self.read() as conn:
            return migration.revision(conn)

    def copy_file(self, path: Path, spend: Callable[[int], None] = lambda _: None) -> None:
        """Write SQLite's database as of now to a new file, as `sqlite.copy` does."""
        sqlite.copy(self._engine, path, spend)

    def ensure_schema(self, *, has_backup: bool = False) -> str | None:
        """Create or migrate the tables, and follow the clock. Many processes may do so
        concurrently. Returns the schema that this call migrated from, if it did.

        Before it migrates SQLite it keeps a copy of the file beside it. PostgreSQL it migrates only
        with `has_backup`, and else raises MigrationNeeded. Raises StoreError.
        """
        with self.read() as conn:
            is_current = migration.revision(conn) == schema.REVISION
        earlier = None if is_current else self._ensure_migrated(has_backup)
        self.follow_clock()
        return earlier

    def _ensure_migrated(self, has_backup: bool) -> str | None:
        with self.write() as conn, self.unlimited(conn):
            if not self.is_sqlite:
                conn.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _MIGRATION_LOCK})
            revision = migration.revision(conn)
            if revision == schema.REVISION:
                return None
            if revision is not None:
                migration.prepare(self._engine, revision, has_backup=has_backup)
            migration.migrate(conn)
            return revision

    def unlimited(self, conn: Connection) -> contextlib.AbstractContextManager[None]:
        """Within it, statements of a transaction may take as long as they need (PostgreSQL)."""
        if self._engine.dialect.driver != "psycopg":
            return contextlib.nullcontext()
        from core.store.drivers import postgres

        return postgres.unlimited(conn)

    def follow_clock(self) -> None:
        """Keep `clock` right. Call it once a second, in the background. Never raises."""
        with contextlib.suppress(StoreError):
            if not self.is_sqlite and self.clock.is_due:
                with self.read() as conn:
                    self.clock.measure(conn)
            elif self.is_sqlite and not self.clock.is_in_step:
                with self.read() as conn:
                    may_share = self.clock.follow_stored(conn)
                if may_share:
                    with self.write(durable=False) as conn:
                        self.clock.share(conn)
        self.clock.log_offset()

    def close(self) -> None:
        if self._raw is not None:
            self._raw.close()
        if self._watch is not None:
            self._watch.close()
        self._engine.dispose()


def _create_remote(url: URL, limits: TimeLimits) -> Engine:
    if url.get_driver_name() != "psycopg":  # its connections wait as that driver does
        return create_engine(url, pool_pre_ping=True, pool_timeout=limits.connect_s)
    # Imported here: the driver is in the extra `postgres`.
    from core.store.drivers import postgres

    return postgres.create(url, limits)
