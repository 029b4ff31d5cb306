"""Copy a whole database, of one moment, between SQLite, PostgreSQL and a file.

The copy is a SQLite file, whichever database it is of. So a backup of SQLite can be restored to
PostgreSQL, and the other way round.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, delete, func, insert, select, text

from core.backup.pace import Pace
from core.errors import InvalidRequest
from core.store import schema
from core.store.database import Database
from core.store.tables.audit import audit_events
from core.store.tables.tallies import KEPT_BY_TRIGGERS

_ROWS = 500
# They say nothing on another machine, or later.
_OF_THE_MACHINE = (schema.clock, schema.workers)


def copy_out(db: Database, path: Path, pace: Pace) -> None:
    """Write all rows of one moment to a new SQLite file, while others write. Raises StoreError."""
    if db.is_sqlite:
        db.copy_file(path, pace.spend)
        return
    copy = open_file(path)
    try:
        copy.ensure_schema()
        with db.read() as source, copy.write() as target:
            _copy_rows(source, target, pace)
    finally:
        copy.close()


def copy_in(path: Path, db: Database) -> None:
    """Fill a database that holds nothing yet from such a file, in one transaction.

    Raises InvalidRequest if the database is not empty, StoreError.
    """
    copy = open_file(path)
    try:
        copy.ensure_schema()
        with copy.read() as source, db.write() as target:
            if not is_empty(target):
                raise InvalidRequest(
                    "the database holds versions, labels, predictions or audit events already; "
                    "restore into an empty one"
                )
            _copy_rows(source, target, Pace(0))
            if not db.is_sqlite:
                _continue_numbers(target)
    finally:
        copy.close()


def is_empty(conn: Connection) -> bool:
    """Whether nobody has used the database."""
    used = (schema.versions, schema.examples, schema.labels, schema.predictions, audit_events)
    return not any(conn.execute(select(table).limit(1)).first() for table in used)


def open_file(path: Path) -> Database:
    return Database(f"sqlite:///{quote(str(path.absolute()))}")


def _copy_rows(source: Connection, target: Connection, pace: Pace) -> None:
    # Migrations write rows of their own.
    for table in reversed(schema.metadata.sorted_tables):
        if table is not audit_events:  # it is empty, and refuses
            target.execute(delete(table))
    apart = (*KEPT_BY_TRIGGERS, *_OF_THE_MACHINE)
    by_us = [each for each in schema.metadata.sorted_tables if each not in apart]
    for table in (*by_us, *KEPT_BY_TRIGGERS):
        if table in KEPT_BY_TRIGGERS:
            target.execute(delete(table))
        # A row may name an earlier one of its table.
        query = select(table).order_by(*table.primary_key.columns)
        rows = source.execute(query.execution_options(yield_per=_ROWS)).mappings()
        for some in rows.partitions():
            target.execute(insert(table), [dict(row) for row in some])
            pace.spend(sum(_num_bytes(value) for row in some for value in row.values()))


def _num_bytes(value: object) -> int:
    return len(value) if isinstance(value, bytes | str) else 8


def _continue_numbers(conn: Connection) -> None:
    """Let PostgreSQL number new rows after those that were inserted with their numbers."""
    for table in schema.metadata.sorted_tables:
        for column in table.primary_key.columns:
            sequence = conn.execute(
                text("SELECT pg_get_serial_sequence(:table, :column)"),
                {"table": table.name, "column": column.name},
            ).scalar()
            if sequence is not None:
                highest = conn.execute(select(func.max(column))).scalar()
                conn.execute(
                    text("SELECT setval(CAST(:s AS regclass), :n, :is_used)"),
                    {"s": sequence, "n": highest or 1, "is_used": highest is not None},
                )
