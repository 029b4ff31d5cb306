"""The database: SQLite in WAL mode by default, PostgreSQL by URL.

Transactions that read and those that write are separate. On SQLite, one that writes takes the lock
when it begins, so nothing that it reads changes before it writes.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
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
    inspect,
    make_url,
    text,
)
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.errors import StoreError
from core.store import schema, sqlite
from core.store.commit_watch import CommitWatch
from core.store.notify_watch import NotifyWatch

_CONNECT_WITHIN_S = 5
# A host that is gone without a word is noticed within half a minute, instead of two hours.
_WITHIN = {
    "connect_timeout": _CONNECT_WITHIN_S,
    "tcp_user_timeout": 20_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
# Any constant, the same in every process.
_MIGRATION_LOCK = 7_140_221


class Database:
    def __init__(self, url: str) -> None:
        """Connects when it is first used. Raises StoreError if the URL cannot be used."""
        parsed = _parsed(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._wal: sqlite.WriteAheadLog | None = None
        self._raw: sqlite.RawConnection | None = None
        self._watch: CommitWatch | NotifyWatch | None = None
        if self.is_sqlite:
            self._engine = sqlite.create(parsed)
            self._wal = sqlite.WriteAheadLog(Path(parsed.database or ""))
            self._raw = sqlite.RawConnection(self._engine)
            self._watch = CommitWatch(self._engine)
            self._reader = self._engine.execution_options(begin="BEGIN")
            self._single = self._engine.execution_options(begin="")
        else:
            self._engine = create_engine(
                parsed,
                pool_pre_ping=True,
                pool_size=8,
                max_overflow=8,
                pool_timeout=_CONNECT_WITHIN_S,
                connect_args=_WITHIN if parsed.get_driver_name() == "psycopg" else {},
            )
            # With "read committed" each statement would see the rows of another moment.
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ")
            self._single = self._engine.execution_options(isolation_level="AUTOCOMMIT")
            if parsed.get_driver_name() == "psycopg":
                self._watch = NotifyWatch(self._engine)
        self._writer = self._engine.execution_options(begin=sqlite.WRITING)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: all of it sees the rows of one moment."""
        with _as_store_error(self._engine), self._reader.connect() as conn:
            yield conn

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """One transaction: all of it or nothing.

        With `durable` it is fsynced once this returns; without, it survives a crash of the process
        but not a power cut (SQLite; PostgreSQL is always durable).
        """
        with _as_store_error(self._engine), self._writer.begin() as conn:
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
        with _as_store_error(self._engine), self._single.begin() as conn:
            yield conn

    def fetch_row(self, query: Select[Any]) -> tuple[Any, ...]:
        """The only row of a query, without a transaction around it."""
        with _as_store_error(self._engine), self._single.connect() as conn:
            return tuple(conn.execute(query).one())

    def commit_mark(self) -> tuple[int, int] | None:
        """Equal to the mark before it if nothing was committed in between. It costs far less than
        a query. PostgreSQL's may be some milliseconds late. None: the database cannot tell."""
        if self._watch is None:
            return None
        with _as_store_error(self._engine):
            return self._watch.mark()

    def insert_rows(
        self, table: Table, rows: Sequence[tuple[Any, ...]], patience_s: float | None = None
    ) -> None:
        """Insert rows of all columns, in their order, in one transaction that is not durable. For
        rows that come with every prediction: it costs less than `write`. It waits for SQLite's lock
        for `patience_s`, and without it as long as other writes do."""
        if self._raw is not None:
            with _as_store_error(self._engine):
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

    def ensure_schema(self) -> None:
        """Create or migrate the tables. Many processes may do so concurrently."""
        with self.read() as conn:
            if _revision(conn) == schema.REVISION:
                return
        with self.write() as conn:
            if not self.is_sqlite:
                conn.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _MIGRATION_LOCK})
            revision = _revision(conn)
            if revision is not None and revision > schema.REVISION:
                raise StoreError(
                    f"the database has schema {revision}, this release knows {schema.REVISION}; "
                    "install the newer release that made it"
                )
            if revision != schema.REVISION:
                _migrate(conn)

    def close(self) -> None:
        if self._raw is not None:
            self._raw.close()
        if self._watch is not None:
            self._watch.close()
        self._engine.dispose()


def _parsed(url: str) -> URL:
    """Raises StoreError, which quotes nothing of the URL, as that may hold a password."""
    try:
        parsed = make_url(url)
        parsed.get_dialect().import_dbapi()
    except ValueError:
        reason = "its port is not a number; write %40, %2F and %3A for @, / and : in a password"
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        reason = str(error)
    else:
        if parsed.get_backend_name() != "sqlite" or parsed.database not in (None, "", ":memory:"):
            return parsed
        reason = "a SQLite database in memory is not shared"
    raise StoreError(
        f"the database URL cannot be used ({reason}); write it like "
        "postgresql+psycopg://user:password@host/name, or leave it empty for SQLite"
    )


@contextlib.contextmanager
def _as_store_error(engine: Engine) -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except (OperationalError, PoolTimeout, sqlite3.DatabaseError) as error:
        raise _store_error(engine, error) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreError("the connection to the database was lost; try again") from error
        # Exactly this class: a damaged file, or one that is no database.
        if type(error) is DatabaseError:
            raise _store_error(engine, error) from error
        raise


def _store_error(engine: Engine, error: Exception) -> StoreError:
    where = engine.url.render_as_string(hide_password=True)
    cause = error.orig if isinstance(error, DBAPIError) else error
    return StoreError(f"the database at {where} cannot be used: {cause}")


def _revision(conn: Connection) -> str | None:
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(conn: Connection) -> None:
    # Imported here: most starts find the schema up to date and do not need it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "core.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    command.upgrade(config, "head")
