"""The one database: SQLite in WAL mode by default, PostgreSQL by URL.

Reads and writes are separate on purpose. A SQLite write takes its lock when it begins, so
that a read in it can't be overtaken before its write.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import QueuePool

from core import schema
from core.errors import StoreError

_BUSY_TIMEOUT_MS = 15_000
# Any constant will do, as long as every process takes the same one.
_MIGRATION_LOCK = 7_140_221


class Database:
    def __init__(self, url: str) -> None:
        """Open, and do not yet connect. Raises StoreError if the URL makes no sense."""
        try:
            self._engine = _engine(url)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise StoreError(
                f"the database URL cannot be used ({error}); write it like "
                "postgresql+psycopg://user:password@host/name, or leave it empty for SQLite"
            ) from error
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        self._reader = self._engine.execution_options(begin="BEGIN")
        self._writer = self._engine.execution_options(begin="BEGIN IMMEDIATE", durable=True)
        self._quick_writer = self._engine.execution_options(begin="BEGIN IMMEDIATE", durable=False)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view of the rows."""
        with _as_store_error(self._engine), self._reader.connect() as conn:
            yield conn

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """One transaction: all of it or nothing.

        With `durable` it survives a power cut once this returns; without, only a crash of the
        process (SQLite; PostgreSQL is always durable).
        """
        engine = self._writer if durable else self._quick_writer
        with _as_store_error(self._engine), engine.begin() as conn:
            yield conn

    def ensure_schema(self) -> None:
        """Create the tables, or bring older ones up to date. Safe from many processes at once."""
        with self.read() as conn:
            if _revision(conn) == schema.REVISION:
                return
        with self.write() as conn:
            if not self.is_sqlite:
                conn.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _MIGRATION_LOCK})
            found = _revision(conn)
            if found != schema.REVISION:
                _migrate(conn)

    def close(self) -> None:
        self._engine.dispose()


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, pool_size=8, max_overflow=8)
    path = url.removeprefix("sqlite:///")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
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
        for pragma in (
            "journal_mode=WAL",
            "foreign_keys=ON",
            f"busy_timeout={_BUSY_TIMEOUT_MS}",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _on_begin(conn: Connection) -> None:
        options = conn.get_execution_options()
        level = "FULL" if options.get("durable", True) else "NORMAL"
        conn.exec_driver_sql(f"PRAGMA synchronous={level}")
        conn.exec_driver_sql(options.get("begin", "BEGIN IMMEDIATE"))

    return engine


@contextlib.contextmanager
def _as_store_error(engine: Engine) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        where = engine.url.render_as_string(hide_password=True)
        raise StoreError(f"the database at {where} cannot be used: {error.orig}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreError("the connection to the database was lost; try again") from error
        raise


def _revision(conn: Connection) -> str | None:
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(conn: Connection) -> None:
    # Imported here: most starts find the schema up to date, and never need it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "core:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    command.upgrade(config, "head")
