"""`evergreen init`."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import make_url

from cli import home
from cli.console import count, out
from core.errors import InvalidRequest
from core.models import pretrained
from core.registry import promotions, versions
from core.settings import Settings, load_settings
from core.store.store import Store


def init(
    backbone: Annotated[
        str,
        typer.Option(help="efficientnet-lite0, or starter: a third of the time, less accurate."),
    ] = pretrained.NAMES[0],
) -> None:
    """Create the database and the blob store, with version 1.

    What exists stays as it is. A second call only prints where everything is.
    """
    if backbone not in pretrained.NAMES:
        raise InvalidRequest(
            f"version 1 cannot have the backbone {backbone!r}: name {' or '.join(pretrained.NAMES)}"
            ", and train on another one later with `evergreen backbone use`"
        )
    settings = load_settings()
    has_existed = home.exists(settings)
    with home.opened(settings, backbone) as store:
        out.print("This home exists already." if has_existed else "Ready.")
        for name, place in _places(settings, store).items():
            # Not in a table, which would wrap a long path, and that cannot be copied.
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
