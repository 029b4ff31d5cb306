"""The tables: created once, migrated, and equal to the schema."""

from __future__ import annotations

import math

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, insert, select, text

from core.class_names import identity
from core.errors import StoreError
from core.labelling import labels
from core.labelling.classes import read_names
from core.registry import activations
from core.store import schema
from core.store.database import Database
from core.store.run_tallies import read as read_tallies
from core.store.store import Store
from tests.core.rows import EXAMPLE, PREDICTION, RUN, VERSION, num_predictions
from tests.core.store.conftest import migrations
from tests.support.concurrency import in_processes, in_threads


@pytest.fixture
def db(store: Store) -> Database:
    return store.db


def test_migrations_make_exactly_the_tables_of_the_schema(db: Database) -> None:
    with db.read() as conn:
        context = MigrationContext.configure(conn, opts={"compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []


def test_partial_index_that_coalesces_runs_exists(db: Database) -> None:
    # `compare_metadata` does not look at the condition of an index.
    catalogue = (
        "SELECT sql FROM sqlite_master WHERE name = 'uq_runs_unfinished'"
        if db.is_sqlite
        else "SELECT indexdef FROM pg_indexes WHERE indexname = 'uq_runs_unfinished'"
    )
    with db.read() as conn:
        definition = conn.execute(text(catalogue)).scalar_one()
    assert "UNIQUE" in definition
    assert "waiting" in definition
    assert "running" in definition


def test_newest_migration_is_the_revision_of_the_schema() -> None:
    config = migrations()
    assert ScriptDirectory.from_config(config).get_heads() == [schema.REVISION]


def test_database_of_an_older_release_is_migrated_with_its_rows(
    empty_url: str,
) -> None:
    db = Database(empty_url)
    config = migrations()
    with db.write() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0001")
        new = {"unfamiliar", "kept_bytes", "capture", "embedding"}
        old = {name: value for name, value in PREDICTION.items() if name not in new}
        conn.execute(insert(schema.predictions).values(id="1", **old))
    db.ensure_schema(has_backup=True)
    assert num_predictions(db) == 1
    with db.write() as conn:
        (row,) = conn.execute(select(schema.predictions))
        assert row._mapping == {"id": "1", **PREDICTION, "kept_bytes": 0}
        assert conn.execute(select(func.count()).select_from(schema.shadow_answers)).scalar() == 0
        config.attributes["connection"] = conn
        command.downgrade(config, "0001")
    assert num_predictions(db) == 1
    db.close()


def test_activations_of_an_older_release_get_the_activation_before_them(empty_url: str) -> None:
    db = Database(empty_url)
    config = migrations()
    with db.write() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0003")
        for number in (1, 2, 3):
            conn.execute(insert(schema.versions).values(number=number, **VERSION))
        for i, version in enumerate((1, 2, 3, 2, 3, 1, 1, 3), start=1):
            promotion = {"id": i, "version": version, "state": "activated", "who": "", "why": ""}
            conn.execute(insert(schema.promotions).values(**promotion, created_at=i))
            activation = {"id": i, "version": version, "promotion_id": i, "who": "", "why": ""}
            conn.execute(
                insert(schema.activations).values(**activation, activate_at=i, created_at=i)
            )
    db.ensure_schema(has_backup=True)
    with db.read() as conn:
        found = [each.before_id for each in reversed(activations.history(conn, 10))]
    assert found == [None, 1, 2, 1, 4, None, None, 7]
    db.close()


def test_ended_runs_of_an_older_release_are_counted(empty_url: str) -> None:
    db = Database(empty_url)
    config = migrations()
    endings: list[tuple[str, str | None, float | None, float | None]] = [
        ("finished", "promoted", 10.0, 10.5),
        ("finished", "promoted", 10.0, 10.25),
        ("finished", "held-back", 10.0, 10_010.0),
        ("failed", None, 10.0, 12.0),
        ("cancelled", None, None, 99.0),
        ("running", None, 10.0, None),
    ]
    with db.write() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0004")
        for i, (state, outcome, started_at, finished_at) in enumerate(endings):
            run = {"id": str(i), "state": state, "outcome": outcome, "started_at": started_at}
            conn.execute(insert(schema.runs).values(**RUN, **run, finished_at=finished_at))
    db.ensure_schema(has_backup=True)
    with db.read() as conn:
        tallies = sorted((t.outcome, t.at_most_s, t.runs, t.seconds) for t in read_tallies(conn))
    assert tallies == [
        ("cancelled", 0.5, 1, 0.0),
        ("failed", 2.0, 1, 2.0),
        ("held-back", math.inf, 1, 10_000.0),
        ("promoted", 0.5, 2, 0.75),
    ]
    db.close()


def test_labels_of_an_older_release_are_counted(empty_url: str) -> None:
    db = Database(empty_url)
    config = migrations()
    events = [("cat", None), ("dog", None), (None, 2), ("cow", None), (None, 4), ("cat", None)]
    with db.write() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0007")
        for i in (1, 2):
            row = EXAMPLE | {"id": i, "image": str(i) * 64, "is_held_out": i == 2}
            conn.execute(insert(schema.examples).values(**row))
        for i, (label, retracts) in enumerate(events, start=1):
            row = {"id": i, "example_id": 2 if i == 6 else 1, "label": label, "retracts": retracts}
            conn.execute(insert(schema.labels).values(**row, who="", created_at=0.0))
    db.ensure_schema(has_backup=True)
    with db.write() as conn:
        assert sorted(labels.count_current(conn)) == [("cat", False, 1), ("cat", True, 1)]
        config.attributes["connection"] = conn
        command.downgrade(config, "0007")
        conn.execute(insert(schema.labels).values(**row | {"id": 9}, who="", created_at=0.0))
    db.close()


def test_schema_is_created_once_by_eight_threads(empty_url: str) -> None:
    def ensure(_: int) -> None:
        db = Database(empty_url)
        db.ensure_schema()
        db.close()

    in_threads(8, ensure)
    db = Database(empty_url)
    assert num_predictions(db) == 0
    db.close()


@pytest.mark.slow
def test_schema_is_created_once_by_four_processes(empty_url: str) -> None:
    in_processes(
        4,
        "import os\nfrom core.store.database import Database",
        "db = Database(os.environ['URL']); db.ensure_schema(); db.close()",
        URL=empty_url,
    )
    db = Database(empty_url)
    assert num_predictions(db) == 0
    db.close()


def test_schema_of_a_newer_release_is_refused_with_the_remedy(db: Database) -> None:
    with db.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"has schema 9999.*install the newer release"):
        db.ensure_schema()


def test_twin_classes_of_an_older_release_get_the_first_spelling(
    empty_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    db = Database(empty_url)
    config = migrations()
    given = ["disc", "Disc", "circle\u200b", "cup", "DISC", "circle", "Disc", None, "\ufdfa" * 100]
    with db.write() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0005")
        conn.execute(insert(schema.examples).values(**EXAMPLE))
        for i, label in enumerate(given, start=1):
            row = {"id": i, "example_id": 1, "label": label, "retracts": None if label else 1}
            conn.execute(insert(schema.labels).values(**row, who="", created_at=0.0))
    with caplog.at_level("WARNING", logger="core.store.migrations"):
        db.ensure_schema(has_backup=True)
    with db.read() as conn:
        stored = conn.execute(select(schema.labels.c.label).order_by(schema.labels.c.id)).scalars()
        assert list(stored) == [
            *("disc", "disc", "circle", "cup", "disc", "circle", "disc", None, "\ufdfa" * 100)
        ]
        names = read_names(conn)
    assert names == {identity(name): name for name in ("disc", "circle", "cup", "\ufdfa" * 100)}
    merged = [vars(record) for record in caplog.records if record.message == "class.merged"]
    assert sorted((each["label"], each["class"], each["label_events"]) for each in merged) == [
        ("DISC", "disc", 1),
        ("Disc", "disc", 2),
        ("circle\u200b", "circle", 1),
    ]
    db.close()
