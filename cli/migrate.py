"""`evergreen migrate`: bring the tables of a database to this release."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from cli import home
from cli.actor import actor
from cli.console import out
from core import audit
from core.errors import NotReady
from core.settings import load_settings
from core.store.database import Database


def migrate(
    backup_is_made: Annotated[
        bool, typer.Option("--backup-is-made", help="PostgreSQL is backed up; migrate it.")
    ] = False,
) -> None:
    """Bring the database to the schema of this release.

    A server that starts does so by itself with SQLite, and keeps a copy of the file beside it. With
    PostgreSQL it waits for this command, because only you can know that there is a backup.
    """
    settings = load_settings()
    if not home.exists(settings):
        raise NotReady(
            f"there is no home in {settings.home.absolute()}: create one with `evergreen init`"
        )
    with contextlib.closing(Database(settings.resolved_database_url)) as db:
        earlier = db.ensure_schema(has_backup=backup_is_made)
        if earlier is not None:
            change = {"before": earlier, "after": db.revision()}
            with db.write() as conn:
                audit.record(conn, actor(), "schema.migrated", "database", db.clock(), **change)
    if earlier is None:
        out.print("The database has the schema of this release.")
    else:
        out.print(f"Migrated the database from schema {earlier} to that of this release.")
