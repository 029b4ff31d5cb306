"""SQLite as the one database: how its transactions begin, and how they become durable.

 1. The database is in WAL mode: a commit appends to the write-ahead log (sqlite.org/wal.html).
 2. With `synchronous=NORMAL` a commit does not fsync (sqlite.org/pragma.html#pragma_synchronous).
    `FULL` would fsync while it holds the write lock, and predictions would wait for the disk.
 3. A durable write commits, which releases the lock, and then fsyncs the WAL file.
 4. Recovery replays every whole transaction of the WAL, so the fsync makes the commit durable.
 5. The first fsync of a new WAL file fsyncs its folder too, which makes the file's name durable.
 6. A transaction that writes takes the lock as it begins (`BEGIN IMMEDIATE`), so nothing that it
    reads changes before it writes.
 7. A writer tries to take the lock every millisecond, until EVERGREEN_STORE_TIMEOUT_S. SQLite's
    own steps grow to 100 ms.
 8. A serving process checkpoints passively every second, which waits for nobody.
 9. Without one, the commit that makes the WAL longer than 32 MiB checkpoints.
10. What is deleted is overwritten with zeros (`secure_delete`, the default of some builds), so that
    an erasure leaves no copy from when a page was split.
11. SQLite fsyncs the WAL itself before a checkpoint moves pages into the database file.

The tests copy the fsynced files and kill processes. No test can cut the power: that the protocol is
durable rests on the documents above.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event
from sqlalchemy.pool import QueuePool

from core.errors import StoreError
from core.system.files import fsync_file, fsync_folder, make_private_folder, writing_whole

WRITING = "BEGIN IMMEDIATE"
_RETRY_EVERY_S = 0.001
# 32 MiB in pages of 4 KiB.
_LONG_WAL_PAGES = 8_192
# 1 MiB, so that a bound on the speed of a copy is kept evenly.
_COPIED_PAGES = 256


def create(url: URL, patience_s: float) -> Engine:
    """An engine whose transactions begin with the statement of their execution option `begin`, and
    wait for the lock for `patience_s`. Raises StoreError."""
    path = Path(url.database or "")
    try:
        make_private_folder(path.parent)
    except OSError as error:
        raise StoreError(f"the database folder {path.parent} cannot be made: {error}") from error
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=24,
        connect_args={"timeout": patience_s, "check_same_thread": False},
    )

    _make_private(path)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        # The driver begins no transaction: it would begin late, and not at all for DDL.
        connection.isolation_level = None
        _set_busy_timeout(connection, patience_s)
        connection.execute("PRAGMA foreign_keys=ON").close()
        connection.execute("PRAGMA synchronous=NORMAL").close()
        connection.execute("PRAGMA secure_delete=ON").close()
        connection.execute(f"PRAGMA wal_autocheckpoint={_LONG_WAL_PAGES}").close()
        # The first change of a new file to WAL raises where others are busy, whatever the timeout.
        _retry_while_busy(lambda: connection.execute("PRAGMA journal_mode=WAL").close(), patience_s)

    @event.listens_for(engine, "begin")
    def _on_begin(conn: Connection) -> None:
        begin = conn.get_execution_options().get("begin", WRITING)
        if begin == WRITING:
            _begin_writing(conn, patience_s)
        elif begin:
            conn.exec_driver_sql(begin)

    return engine


def _make_private(path: Path) -> None:
    """Let only the owner read the database, which names people and holds what they labelled. SQLite
    gives the files beside it the same mode. A file of another owner stays as it is."""
    with contextlib.suppress(OSError):  # opening it reports what is wrong
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        with contextlib.suppress(OSError):
            path.with_name(name).chmod(0o600)


def copy(engine: Engine, path: Path, spend: Callable[[int], None] = lambda _: None) -> None:
    """Write the database as of now to a new file, while others write. `spend` is called with the
    bytes of each part, and may wait. Raises StoreError.

    The transaction keeps the pages of one moment, so no write of another makes the copy begin anew
    (sqlite.org/backup.html).
    """
    pooled = engine.raw_connection()
    try:
        with writing_whole(path, durable=True) as unfinished, _opened(unfinished) as target:
            source = pooled.driver_connection
            assert isinstance(source, sqlite3.Connection)
            page_bytes = source.execute("PRAGMA page_size").fetchone()[0]
            source.execute("BEGIN").close()
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            source.backup(
                target,
                pages=_COPIED_PAGES,
                progress=lambda _status, _left, _total: spend(_COPIED_PAGES * page_bytes),
            )
            # One file, without a log beside it.
            target.execute("PRAGMA journal_mode=DELETE").close()
        fsync_folder(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"the database cannot be copied to {path}: {error}") from error
    finally:
        pooled.close()  # which ends the transaction


def keep_copy(engine: Engine, suffix: str) -> None:
    """Copy the database to a file of this suffix beside it, and delete the copy of an earlier call.
    Raises StoreError."""
    database = Path(engine.url.database or "")
    path = database.with_name(f"{database.name}.{suffix}")
    copy(engine, path)
    for older in database.parent.glob(f"{database.name}.{suffix.partition('-')[0]}-*"):
        if older != path:
            older.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path)
    try:
        yield connection
    finally:
        connection.close()


class WriteAheadLog:
    """The WAL file of a database."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-wal")
        # Of the file whose name is durable.
        self._inode = -1

    def fsync(self) -> None:
        """Make durable what any process has committed so far. Raises StoreError."""
        try:
            fsync_file(self._path)
            inode = self._path.stat().st_ino
            if inode != self._inode:
                fsync_folder(self._path.parent)
                self._inode = inode
        except FileNotFoundError:
            return  # the last connection has closed, which moves all of it into the database
        except OSError as error:
            raise StoreError(f"{self._path} cannot be fsynced: {error}") from error


class RawConnection:
    """A connection past SQLAlchemy, which takes several times as long to insert a row as SQLite.
    For any thread, one at a time."""

    def __init__(self, engine: Engine, patience_s: float) -> None:
        self._engine = engine
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def insert(
        self, table: Table, rows: Sequence[tuple[Any, ...]], patience_s: float | None = None
    ) -> None:
        """Insert rows of all columns, in their order, in one transaction. It waits for the lock
        for `patience_s`, or as long as other writes. Raises what sqlite3 raises."""
        places = ", ".join("?" * len(table.columns))
        statement = (
            f"INSERT INTO {table.name} ({', '.join(table.columns.keys())}) VALUES ({places})"
        )
        with self._lock:
            connection = self._connection or self._connect()
            _retry_while_busy(
                lambda: connection.execute(WRITING).close(),
                self._patience_s if patience_s is None else patience_s,
            )
            try:
                connection.executemany(statement, rows).close()
                connection.commit()
            except BaseException:
                connection.rollback()
                raise

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
        _set_busy_timeout(connection, 0)
        self._connection = connection
        return connection


def _begin_writing(conn: Connection, patience_s: float) -> None:
    connection = conn.connection.driver_connection
    assert connection is not None
    _set_busy_timeout(connection, 0)
    try:
        _retry_while_busy(lambda: connection.execute(WRITING).close(), patience_s)
    finally:
        _set_busy_timeout(connection, patience_s)


def _set_busy_timeout(connection: Any, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout={round(seconds * 1000)}").close()


def _retry_while_busy(do: Callable[[], None], patience_s: float) -> None:
    """Try every millisecond until no other connection is in the way, or time is up."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            do()
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_EVERY_S)


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
