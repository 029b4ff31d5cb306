"""Migrations: which schema a database has, and what comes before it gets another."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, inspect, text

from core.errors import MigrationNeeded, StoreError
from core.store import schema
from core.store.drivers import sqlite


def revision(conn: Connection) -> str | None:
    """None: the database has no tables yet."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar()


def prepare(engine: Engine, found: str, *, has_backup: bool) -> None:
    """Before a database of schema `found` is migrated: keep a copy of SQLite's file, and let
    PostgreSQL wait for a person. Raises MigrationNeeded, StoreError."""
    if found > schema.REVISION:
        raise StoreError(
            f"the database has schema {found}, this release knows {schema.REVISION}; "
            "install the newer release that made it"
        )
    if engine.dialect.name == "sqlite":
        sqlite.keep_copy(engine, f"schema-{found}")
    elif not has_backup:
        raise MigrationNeeded(
            f"the database has schema {found}, this release needs {schema.REVISION}; back "
            "the database up with pg_dump, then run `evergreen migrate --backup-is-made`"
        )


def migrate(conn: Connection) -> None:
    """To the newest schema, in the transaction of the caller."""
    # Imported here: most starts find the schema up to date and do not need it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "core.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    command.upgrade(config, "head")
