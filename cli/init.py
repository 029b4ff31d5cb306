"""`evergreen init`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from sqlalchemy import make_url

from cli import home
from cli.console import count, out, some
from core.errors import InvalidRequest
from core.exchange.sources import has_tables
from core.inputs import kinds
from core.inputs.kind import InputKind
from core.models.pretrained import choice as pretrained
from core.registry import promotions, versions
from core.registry.versions import Version
from core.registry.zero_shot import read_names
from core.settings import Settings, load_settings
from core.store.store import Store

_MOST_NAMES = 8


def init(
    backbone: Annotated[
        str,
        typer.Option(
            show_default="efficientnet-lite0",
            help="Or starter: a third of the time, less accurate. Texts have one of their own.",
        ),
    ] = "",
    input_: Annotated[
        str,
        typer.Option(
            "--input", show_default="image", help="What it classifies, image or text, for good."
        ),
    ] = "",
    classes: Annotated[
        str,
        typer.Option(
            show_default=False,
            help="Of a home of texts: predict by these names, with commas, until texts are "
            "labelled.",
        ),
    ] = "",
) -> None:
    """Create the database and the blob store, with version 1.

    What exists stays as it is. A second call only prints where everything is.
    """
    settings = _of_kind(load_settings(), input_)
    has_existed = home.exists(settings)
    names = [name for name in classes.split(",") if name.strip()]
    if not has_existed:
        _check(kinds.requested(settings.input), backbone, names)
    with home.opened(settings, backbone, names) as store:
        out.print("This home exists already." if has_existed else "Ready.")
        for name, place in _places(settings, store).items():
            # Not in a table, which would wrap a long path, and that cannot be copied.
            out.print(f"{name:<10}{place}", soft_wrap=True)
        by_table = "evergreen import FILE.csv, or " if has_tables(store.kind) else ""
        out.print(f"Next: {by_table}evergreen serve")


def _of_kind(settings: Settings, name: str) -> Settings:
    if name and name not in kinds.NAMES:
        raise InvalidRequest(f"a home cannot classify {name!r}: name {' or '.join(kinds.NAMES)}")
    return settings.model_copy(update={"input": name}) if name else settings


def _check(kind: InputKind, backbone: str, class_names: Sequence[str]) -> None:
    """Raises InvalidLabel, InvalidRequest or SpecMismatch before anything is created."""
    known = pretrained.names(kind)
    if backbone and backbone not in known:
        raise InvalidRequest(
            f"version 1 of a home of {kind.plural} cannot have the backbone {backbone!r}: name "
            f"{' or '.join(known)}, and train on another one later with `evergreen backbone use`"
        )
    if class_names:
        read_names(backbone or known[0], class_names)


def _places(settings: Settings, store: Store) -> dict[str, str]:
    with store.db.read() as conn:
        live = promotions.newest_activation(conn)
        version = versions.get(conn, live.version) if live else None
    return {
        "Home": str(settings.home.absolute()),
        "Input": store.kind.plural,
        "Database": _without_password(settings.resolved_database_url),
        "Blobs": settings.resolved_blob_url,
        "Champion": _champion(version) if version else "none",
    }


def _champion(version: Version) -> str:
    if not version.classes:
        return f"version {version.number}, no classes yet: label some"
    classes = count(len(version.classes), "class")
    if version.metrics.get("zero_shot"):
        classes += f", by their names: {some(version.classes, _MOST_NAMES)}"
    return f"version {version.number}, {classes}"


def _without_password(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
