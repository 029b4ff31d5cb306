"""What the database's drivers raise, as errors of ours, and URLs that they cannot use."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.errors import DiskFull, StoreError

_POSTGRES_DISK_FULL = "53100"


def parse_url(url: str) -> URL:
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
def as_store_error(engine: Engine) -> Iterator[None]:
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
    if _is_full(cause):
        return DiskFull(
            "the database cannot be written: its disk is full; free some of it, and try again"
        )
    return StoreError(f"the database at {where} cannot be used: {cause}")


def _is_full(cause: BaseException | None) -> bool:
    is_sqlite_full = getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return is_sqlite_full or getattr(cause, "sqlstate", None) == _POSTGRES_DISK_FULL
