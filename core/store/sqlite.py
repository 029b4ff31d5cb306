"""SQLite as the one database: its log, turns to write, and what of it is on the disk.

In WAL mode a commit ends with a write to the log. To wait for the disk there, as SQLite does with
`synchronous=FULL`, is to hold the lock meanwhile, and every prediction waits for that. So commits
do not, and who needs what was committed to survive a power cut syncs the log afterwards, with the
lock free: recovery takes all of a log that is on the disk (sqlite.org/wal.html), and SQLite itself
syncs it before it moves anything out of it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Insert,
    Select,
    Table,
    create_engine,
    event,
    insert,
)
from sqlalchemy.pool import QueuePool

from core.errors import StoreError
from core.system.files import sync_file, sync_folder

_Result = TypeVar("_Result")

WRITING = "BEGIN IMMEDIATE"
_BUSY_TIMEOUT_MS = 15_000
_TURN_S = 0.001
# 32 MiB. Serving processes see to it before (`Database.checkpoint`); without one, commits do.
_LONG_LOG_PAGES = 8_192


def create(url: URL) -> Engine:
    """An engine whose transactions begin as their execution option `begin` says."""
    folder = Path(url.database or "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the database folder {folder} cannot be made: {error}") from error
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=24,
        connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        # Transactions are ours: the driver would begin them late, and not at all for DDL.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}").close()
        connection.execute("PRAGMA foreign_keys=ON").close()
        connection.execute("PRAGMA synchronous=NORMAL").close()
        connection.execute(f"PRAGMA wal_autocheckpoint={_LONG_LOG_PAGES}").close()
        _enter_wal(connection)

    @event.listens_for(engine, "begin")
    def _on_begin(conn: Connection) -> None:
        begin = conn.get_execution_options().get("begin", WRITING)
        if begin == WRITING:
            _begin_writing(conn)
        elif begin:
            conn.exec_driver_sql(begin)

    return engine


class WriteAheadLog:
    """The log of a database, beside its file."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-wal")
        # Of the file whose name is on the disk.
        self._inode = -1

    def sync(self) -> None:
        """What was committed so far survives a power cut once this returns. Raises StoreError."""
        try:
            sync_file(self._path)
            inode = self._path.stat().st_ino
            if inode != self._inode:
                sync_folder(self._path.parent)
                self._inode = inode
        except FileNotFoundError:
            return  # its last user has left, and moved all of it into the database
        except OSError as error:
            raise StoreError(f"{self._path} cannot be taken to the disk: {error}") from error


class RawConnection:
    """For what is done all the time: a connection of its own, past SQLAlchemy, which costs a single
    row several times what SQLite does. Statements are compiled once. For any thread, one at a time.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        # By what they were made from.
        self._compiled: dict[object, str] = {}
        self._connection: sqlite3.Connection | None = None

    def add(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Rows of all columns, in their order, in one transaction. Raises as the driver does."""
        with self._lock:
            connection = self._connection or self._connect()
            statement = self._compiled.get(table) or self._compile(table, insert(table))
            if len(rows) == 1:  # a statement by itself is a transaction
                _retry_while_busy(lambda: connection.execute(statement, rows[0]).close())
                return
            _retry_while_busy(lambda: connection.execute(WRITING).close())
            try:
                connection.executemany(statement, rows).close()
                connection.commit()
            except BaseException:
                connection.rollback()
                raise

    def one(self, query: Select[Any]) -> tuple[Any, ...]:
        """The only row of a query. Raises as the driver does."""
        with self._lock:
            connection = self._connection or self._connect()
            statement = self._compiled.get(query) or self._compile(query, query)
            rows: list[tuple[Any, ...]] = _retry_while_busy(
                lambda: connection.execute(statement).fetchall()
            )
            return rows[0]

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _connect(self) -> sqlite3.Connection:
        pooled = self._engine.raw_connection()
        connection = pooled.driver_connection
        pooled.detach()
        assert isinstance(connection, sqlite3.Connection)
        connection.execute("PRAGMA busy_timeout=0").close()
        self._connection = connection
        return connection

    def _compile(self, key: object, statement: Insert | Select[Any]) -> str:
        in_full = {"literal_binds": True}
        found = statement.compile(dialect=self._engine.dialect, compile_kwargs=in_full)
        return self._compiled.setdefault(key, str(found))


def _begin_writing(conn: Connection) -> None:
    connection = conn.connection.driver_connection
    assert connection is not None
    connection.execute("PRAGMA busy_timeout=0").close()
    try:
        _retry_while_busy(lambda: connection.execute(WRITING).close())
    finally:
        connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}").close()


def _retry_while_busy(do: Callable[[], _Result]) -> _Result:
    """Wait for its turn in steps of a millisecond. SQLite's own steps grow from one to a
    hundred, however soon the lock is free."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            return do()
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(_TURN_S)


def _enter_wal(connection: sqlite3.Connection) -> None:
    """The first change of a new file to WAL does not wait for its turn as all else does."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
