"""The home folder: open the store that the settings name, and create it if the command may."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import make_url

from cli.console import err
from core.errors import InvalidRequest, NotReady
from core.inputs import kinds
from core.registry import versions
from core.settings import Settings
from core.store.store import Store, open_store


@contextlib.contextmanager
def opened(settings: Settings, backbone: str = "", classes: Sequence[str] = ()) -> Iterator[Store]:
    """Open the store. Creates it, with version 1 of this backbone and these classes, if there is
    none.

    Raises InvalidRequest, StoreError, SpecMismatch if a package is not installed.
    """
    if not exists(settings):
        kinds.requested(settings.input).check_installed()
        err.print(f"Creating a new home in {settings.home.absolute()}")
    with _closing(open_store(settings)) as store:
        store.kind.check_installed()
        with store.db.read() as conn:
            is_empty = versions.newest_number(conn) is None
        if is_empty:
            # Imported here: only the first start runs a model.
            from core.registry.bootstrap import ensure_first_version

            ensure_first_version(store, backbone, classes)
        elif classes:
            raise InvalidRequest(
                f"this home has a version already, and the {len(classes)} classes are of a new "
                "one: label with them instead"
            )
        yield store


@contextlib.contextmanager
def opened_existing(settings: Settings) -> Iterator[Store]:
    """Open an existing store, so that a wrong folder creates no second one.

    Raises NotReady, StoreError.
    """
    require(settings)
    with _closing(open_store(settings)) as store:
        yield store


@contextlib.contextmanager
def opened_as_it_is(settings: Settings) -> Iterator[Store]:
    """Open an existing store, whose tables may be those of another release. Raises StoreError."""
    with _closing(open_store(settings, migrate=False)) as store:
        yield store


def require(settings: Settings) -> None:
    """Raises NotReady if there is no home."""
    if not exists(settings):
        raise NotReady(
            f"there is no home in {settings.home.absolute()}: create one with `evergreen init`, "
            "or name yours with EVERGREEN_HOME"
        )


def exists(settings: Settings) -> bool:
    """Return whether there is a database. One on a server is assumed to exist."""
    url = settings.resolved_database_url
    return not url.startswith("sqlite") or Path(make_url(url).database or "").exists()


@contextlib.contextmanager
def _closing(store: Store) -> Iterator[Store]:
    try:
        yield store
    finally:
        store.db.close()
