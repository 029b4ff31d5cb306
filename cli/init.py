"""`evergreen init`."""

from __future__ import annotations

from rich.table import Table
from sqlalchemy import make_url

from cli import home
from cli.console import count, out
from core import champion, versions
from core.settings import Settings, load_settings
from core.store import Store


def init() -> None:
    """Make the database and the blob store, with version 1.

    What is there already stays as it is; calling it again only says where everything is.
    """
    settings = load_settings()
    was_there = home.exists(settings)
    with home.opened(settings) as store:
        out.print("This home was made before." if was_there else "Ready.")
        out.print(_places(settings, store))
        out.print("Next: evergreen serve")


def _places(settings: Settings, store: Store) -> Table:
    with store.db.read() as conn:
        live = champion.newest_activation(conn)
        version = versions.get(conn, live.version) if live else None
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    grid.add_row("Home", str(settings.home.absolute()))
    grid.add_row("Database", _without_password(settings.resolved_database_url))
    grid.add_row("Blobs", settings.resolved_blob_url)
    if version is not None:
        grid.add_row(
            "Champion", f"version {version.number}, {count(len(version.classes), 'class')}"
        )
    return grid


def _without_password(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
