"""An older release beside this one, on the database that this one has migrated.

The older release is played by its tables, as release 0.1.0 made them: its statements name their
columns, and no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, func, insert, inspect, select, update

from core import leases, runs
from core.labelling import census, classes, labels
from core.registry import activations, promotions, versions, workers
from core.registry.wait import wait_for_promotion
from core.store import run_tallies, schema
from core.store.database import Database
from tests.core.rows import EXAMPLE, PREDICTION, RUN, VERSION
from tests.core.store.conftest import migrations

pytestmark = pytest.mark.slow  # not in `make check`

# The newest of release 0.1.0.
OLDER = "0004"


def migrate(db: Database, revision: str) -> None:
    config = migrations()
    with db.write() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, revision)


def tables_of(db: Database) -> dict[str, Table]:
    metadata = MetaData()
    with db.read() as conn:
        metadata.reflect(conn)
    return {name: table for name, table in metadata.tables.items() if name != "alembic_version"}


@dataclass
class Older:
    """A process of the older release."""

    db: Database
    tables: dict[str, Table]

    def insert(self, table: str, **values: Any) -> Any:
        """Returns the primary key."""
        found = self.tables[table]
        with self.db.write() as conn:
            known = {name: value for name, value in values.items() if name in found.c}
            return conn.execute(insert(found).values(known)).inserted_primary_key[0]

    def update(self, table: str, row: object, **values: Any) -> int:
        with self.db.write() as conn:
            found = self.tables[table]
            return conn.execute(update(found).where(found.c.id == row).values(**values)).rowcount

    def activate(self, version: int) -> None:
        """A version that was not champion before."""
        now = self.db.clock()
        said = {"who": "ann", "why": "better", "version": version, "created_at": now}
        promotion_id = self.insert("promotions", state="activated", error=None, **said)
        with self.db.read() as conn:
            before_id = conn.execute(select(func.max(self.tables["activations"].c.id))).scalar()
        times = {"activate_at": now, "before_id": before_id}
        self.insert("activations", promotion_id=promotion_id, **times, **said)

    def report(self, name: str, *ready: int) -> None:
        now = self.db.clock()
        values = {"role": "serving", "host": "h", "pid": 1, "provider": "CPU", "version": 1}
        values |= {"ready": list(ready), "failed": {}, "started_at": now, "last_seen": now}
        if not self.update("workers", name, **values):
            self.insert("workers", id=name, **values)


@pytest.fixture
def older(empty_url: str) -> Iterator[Older]:
    """Its database was migrated, and it goes on."""
    db = Database(empty_url)
    migrate(db, OLDER)
    found = Older(db, tables_of(db))
    for number in (1, 2, 3):
        found.insert("versions", number=number, **VERSION)
    db.ensure_schema(has_backup=True)
    yield found
    db.close()


def promote(db: Database, version: int) -> float | None:
    with db.write() as conn:
        promotion = promotions.request(conn, version, who="bob", why="better", now=db.clock())
    return wait_for_promotion(db, promotion.id, advance_every_s=0.0).activate_at


def champion(db: Database) -> tuple[int, int | None]:
    """The champion, and what a rollback returns to."""
    with db.read() as conn:
        live = promotions.newest_activation(conn)
        assert live is not None
        return live.version, activations.version_before(conn)


def test_older_release_goes_on_writing_and_reading_every_table(older: Older) -> None:
    older.insert("examples", **EXAMPLE)
    older.insert("labels", id=1, example_id=1, label="cat", who="ann", created_at=0.0)
    older.insert("predictions", id="p", **PREDICTION)
    older.insert("shadow_answers", prediction_id="p", version=2, label="cat")
    tally = {"answers": 1, "agreements": 1, "last_at": 0.0}
    older.insert("shadow_tallies", version=2, champion=1, **tally)
    older.insert("embeddings", example_id=1, backbone="b", vector=b"v")
    older.insert("runs", id="r", state="waiting", **RUN)
    assert older.update("runs", "r", state="running", owner="o", heartbeat_at=1.0) == 1
    older.activate(1)
    older.report("w", 1)
    older.report("w", 1, 2)
    with older.db.read() as conn:
        for table in older.tables.values():
            assert conn.execute(select(table)).first() is not None, table.name


def test_promotions_and_rollbacks_of_two_releases_follow_each_other(older: Older) -> None:
    older.activate(1)
    assert promote(older.db, 2) is not None
    assert champion(older.db) == (2, 1)
    older.activate(3)
    assert champion(older.db) == (3, 2)
    for expected in ((2, 1), (1, None)):
        before = champion(older.db)[1]
        assert before is not None
        assert promote(older.db, before) is not None
        assert champion(older.db) == expected


def test_promotion_waits_for_a_worker_of_the_older_release(older: Older) -> None:
    db = older.db
    older.activate(1)
    older.report("w", 1)
    with db.write() as conn:
        promotions.request(conn, 2, who="bob", why="better", now=db.clock())
    assert promotions.advance_committed(db) is None
    older.report("w", 1, 2)
    assert promotions.advance_committed(db) is not None


def test_state_with_rows_of_the_older_release_is_read(older: Older) -> None:
    db = older.db
    older.insert("examples", **EXAMPLE)
    older.insert("labels", id=1, example_id=1, label="cat", who="ann", created_at=0.0)
    older.insert("predictions", id="p", **PREDICTION)
    run = RUN | {"state": "finished", "outcome": "promoted", "finished_at": 2.0}
    older.insert("runs", id="done", **run)
    older.insert("runs", id="r", **RUN | {"state": "waiting"})
    older.activate(1)
    older.report("w", 1)
    with db.read() as conn:
        assert [each.id for each in workers.live(conn, db.clock(), "serving")] == ["w"]
        assert census.read_census(conn).num_trained == {"cat": 1}
        assert labels.count_after(conn, runs.newest_snapshot(conn))[0] == 1
        assert [run.id for run in runs.unfinished(conn)] == ["r"]
        assert versions.get(conn, 1).number == 1
        assert run_tallies.read(conn) == []
    with db.write() as conn:
        claimed = leases.claim(conn, "me", db.clock())
        assert claimed is not None
        assert leases.finish(conn, claimed.id, "me", state="failed", now=db.clock(), error="e")


def test_labels_of_the_older_release_join_their_classes(older: Older) -> None:
    db = older.db
    for i, label in enumerate(("disc", "Disc", "cup", "DISC", None), start=1):
        older.insert("examples", **EXAMPLE | {"id": i, "image": str(i) * 64})
        retracts = None if label else 2
        row = {"id": i, "example_id": i, "label": label, "retracts": retracts}
        older.insert("labels", **row, who="ann", created_at=0.0)
        if i == 1:
            with db.write() as conn:
                assert classes.join(conn, "disc") == "disc"
    classes.join_labels_of_older_release(db)
    with db.read() as conn:
        stored = conn.execute(select(schema.labels.c.label).order_by(schema.labels.c.id))
        assert list(stored.scalars()) == ["disc", "disc", "cup", "disc", None]
        assert classes.read_names(conn) == {"disc": "disc", "cup": "cup"}


def shape(conn: Connection) -> dict[str, dict[str, Any]]:
    """What a process that knows these tables relies on."""
    found = inspect(conn)
    return {
        table: {
            "columns": {c["name"]: c for c in found.get_columns(table)},
            "keys": found.get_pk_constraint(table)["constrained_columns"],
            "foreign": {
                (*f["constrained_columns"], f["referred_table"])
                for f in found.get_foreign_keys(table)
            },
            "unique": {
                tuple(sorted(u["column_names"]))
                for u in (
                    *found.get_unique_constraints(table),
                    *(i for i in found.get_indexes(table) if i["unique"]),
                )
            },
        }
        for table in found.get_table_names()
    }


def test_migrations_only_add_so_that_the_older_release_goes_on(empty_url: str) -> None:
    """No table or column goes or gets another name, and its rows need nothing that is new."""
    db = Database(empty_url)
    script = ScriptDirectory.from_config(migrations())
    steps = [each.revision for each in script.iterate_revisions("head", OLDER)][::-1]
    assert steps[-1] == schema.REVISION
    migrate(db, OLDER)
    for revision in steps:
        with db.read() as conn:
            before = shape(conn)
        migrate(db, revision)
        with db.read() as conn:
            after = shape(conn)
        assert before.keys() <= after.keys(), revision
        for table, old in before.items():
            new = after[table]
            assert old["columns"].keys() <= new["columns"].keys(), (revision, table)
            assert {k: new[k] for k in ("keys", "foreign", "unique")} == {
                k: old[k] for k in ("keys", "foreign", "unique")
            }, (revision, table)
            for name, column in new["columns"].items():
                if name not in old["columns"]:
                    has_value = column["nullable"] or column["default"] is not None
                    assert has_value, (revision, table, name)
                    continue
                known = old["columns"][name]
                assert str(column["type"]) == str(known["type"]), (revision, table, name)
                assert column["nullable"] == known["nullable"], (revision, table, name)
    db.close()
