"""`evergreen init`."""

from __future__ import annotations

from sqlalchemy import make_url

from cli import home
from cli.console import count, out
from core.registry import promotions, versions
from core.settings import Settings, load_settings
from core.store.store import Store


def init() -> None:
    """Make the database and the blob store, with version 1.

    What is there already stays as it is; calling it again only says where everything is.
    """
    settings = load_settings()
    was_there = home.exists(settings)
    with home.opened(settings) as store:
        out.print("This home was made before." if was_there else "Ready.")
        for name, place in _places(settings, store).items():
            # Not in a table: a path that is broken in two cannot be copied.
            out.print(f"{name:<10}{place}", soft_wrap=True)
        out.print("Next: evergreen serve")


def _places(settings: Settings, store: Store) -> dict[str, str]:
    with store.db.read() as conn:
        live = promotions.newest_activation(conn)
        version = versions.get(conn, live.version) if live else None
    classes = count(len(version.classes), "class") if version else ""
    return {
        "Home": str(settings.home.absolute()),
        "Database": _without_password(settings.resolved_database_url),
        "Blobs": settings.resolved_blob_url,
        "Champion": f"version {version.number}, {classes}" if version else "none",
    }


def _without_password(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
