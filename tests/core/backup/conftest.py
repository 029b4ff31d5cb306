"""A place for backups, and the stores that are backed up and restored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.backup import backups
from core.backup.backups import Made
from core.backup.pace import Pace
from core.backup.place import Place
from core.labelling.intake import LabelRequest
from core.settings import Settings
from core.store import schema
from core.store.blobs import LocalBlobs
from core.store.database import Database
from core.store.store import Store, open_store
from tests.core.labelled_store import label, predict
from tests.support import images, tiny

UNBOUNDED = Pace(0)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "backups"))


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with a version, labels of which one is retracted, and predictions."""
    tiny.publish(store)
    for i, name in enumerate(("cat", "dog", "cat")):
        label(store, LabelRequest(name, who=f"user {i}"), images.png(24, 20, i))
    predict(store)
    return store


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def new_home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store beside the one that is backed up."""
    if request.param == "sqlite":
        new = open_store(Settings(home=tmp_path / "restored"))
    else:
        db = Database(request.getfixturevalue("empty_postgres_url"))
        db.ensure_schema()
        new = Store(db, LocalBlobs(tmp_path / "restored" / "blobs"))
    yield new
    new.db.close()


def ignore(_step: str, _done: int, _total: int) -> None:
    pass


def make(store: Store, place: Place, now: float = 1_000_000.0) -> Made:
    return backups.make(store, place, now, UNBOUNDED, ignore)


def rows(store: Store) -> dict[str, list[tuple[object, ...]]]:
    with store.db.read() as conn:
        return {
            table.name: [
                tuple(row)
                for row in conn.execute(select(table).order_by(*table.primary_key.columns))
            ]
            for table in schema.metadata.sorted_tables
            if table.name != "clock"  # of the machine
        }
