from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from core import schema
from core.database import Database
from core.errors import StoreError
from core.settings import Settings
from core.store import Store
from tests.at_once import in_processes, in_threads

PREDICTION = {
    "image": "a" * 64,
    "version": 1,
    "label": "cat",
    "confidence": 0.9,
    "margin": 0.8,
    "created_at": 0.0,
}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'evergreen.db'}"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


@pytest.fixture
def db(store: Store) -> Database:
    return store.db


def num_predictions(db: Database) -> int:
    with db.read() as conn:
        return conn.execute(select(func.count()).select_from(schema.predictions)).scalar_one()


def test_migrations_make_exactly_the_tables_of_the_schema(db: Database) -> None:
    with db.read() as conn:
        context = MigrationContext.configure(conn, opts={"compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []


def test_partial_index_that_coalesces_runs_is_there(db: Database) -> None:
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
    config = Config()
    config.set_main_option("script_location", "core:migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [schema.REVISION]


def test_database_of_an_older_release_is_brought_up_to_date_with_what_it_holds(
    empty_url: str,
) -> None:
    db = Database(empty_url)
    config = Config()
    config.set_main_option("script_location", "core:migrations")
    config.set_main_option("path_separator", "os")
    with db.write() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0001")
        conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
    db.ensure_schema()
    assert num_predictions(db) == 1
    with db.write() as conn:
        assert conn.execute(select(func.count()).select_from(schema.shadow_answers)).scalar() == 0
        config.attributes["connection"] = conn
        command.downgrade(config, "0001")
    assert num_predictions(db) == 1
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
        "import os\nfrom core.database import Database",
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


def test_write_is_all_or_nothing(db: Database) -> None:
    def fail() -> None:
        with db.write() as conn:
            conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()
    assert num_predictions(db) == 0


def test_nested_write_rolls_back_alone(db: Database) -> None:
    with db.write() as conn:
        conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        with pytest.raises(IntegrityError), conn.begin_nested():
            conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        conn.execute(insert(schema.predictions).values(id="2", **PREDICTION))
    assert num_predictions(db) == 2


@pytest.mark.parametrize("durable", [True, False])
def test_many_writers_at_once_all_succeed(db: Database, durable: bool) -> None:
    def write(i: int) -> None:
        for n in range(20):
            with db.write(durable=durable) as conn:
                conn.execute(insert(schema.predictions).values(id=f"{i}-{n}", **PREDICTION))

    in_threads(8, write)
    assert num_predictions(db) == 160


def test_read_then_write_loses_no_update(sqlite_store: Store) -> None:
    """On SQLite a write takes its lock when it begins; a read in it is never stale."""
    db = sqlite_store.db
    with db.write() as conn:
        conn.execute(insert(schema.predictions).values(id="1", **PREDICTION | {"version": 0}))

    def increment(_: int) -> None:
        for _n in range(10):
            with db.write(durable=False) as conn:
                version = conn.execute(select(schema.predictions.c.version)).scalar_one()
                conn.execute(update(schema.predictions).values(version=version + 1))

    in_threads(6, increment)
    with db.read() as conn:
        assert conn.execute(select(schema.predictions.c.version)).scalar_one() == 60


def test_read_sees_one_moment_throughout(db: Database) -> None:
    with db.read() as conn:
        before = conn.execute(select(func.count()).select_from(schema.predictions)).scalar_one()
        with db.write() as other:
            other.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        after = conn.execute(select(func.count()).select_from(schema.predictions)).scalar_one()
    assert before == after == 0
    assert num_predictions(db) == 1


def test_reads_go_on_beside_a_long_write(db: Database) -> None:
    with db.write() as conn:
        conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        assert in_threads(4, lambda _: num_predictions(db)) == [0] * 4


def test_breach_of_a_constraint_stays_an_integrity_error(db: Database) -> None:
    with pytest.raises(IntegrityError), db.write() as conn:
        conn.execute(insert(schema.predictions).values(id="1", **PREDICTION | {"image": None}))


def test_foreign_keys_are_enforced(db: Database) -> None:
    with pytest.raises(IntegrityError), db.write() as conn:
        conn.execute(insert(schema.labels).values(example_id=7, label="x", who="x", created_at=0.0))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://user:hunter2@host:port/name",
        "nosuchdatabase://user:hunter2@host/name",
        "hunter2",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_unusable_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(StoreError, match="the database URL cannot be used") as caught:
        Database(url)
    assert "hunter2" not in str(caught.value)
    assert "postgresql+psycopg://user:password@host/name" in str(caught.value)


def test_unreachable_database_is_a_store_error_without_the_password() -> None:
    db = Database("postgresql+psycopg://user:hunter2@127.0.0.1:1/name?connect_timeout=2")
    with pytest.raises(StoreError, match=r"user:\*\*\*@127\.0\.0\.1") as caught:
        db.ensure_schema()
    assert "hunter2" not in str(caught.value)


def test_file_that_is_no_database_is_a_store_error(tmp_path: Path) -> None:
    path = tmp_path / "evergreen.db"
    path.write_bytes(b"this is no database" * 100)
    db = Database(f"sqlite:///{path}")
    with pytest.raises(StoreError, match="not a database"):
        db.ensure_schema()
    db.close()


def test_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be made"):
        Database(f"sqlite:///{tmp_path / 'file' / 'evergreen.db'}")


@pytest.mark.parametrize("prefix", ["sqlite:///", "sqlite+pysqlite:///"])
def test_sqlite_is_made_where_the_url_says(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    db = Database(f"{prefix}{tmp_path / 'deep' / 'er' / 'evergreen.db'}")
    db.ensure_schema()
    db.close()
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert (tmp_path / "deep" / "er" / "evergreen.db").exists()


@pytest.mark.postgres
def test_lost_connection_is_a_store_error_and_the_next_use_succeeds(postgres_url: str) -> None:
    db, other = Database(postgres_url), Database(postgres_url)

    def write_while_cut_off() -> None:
        with db.write() as conn:
            pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with other.write() as killer:
                killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))

    try:
        with pytest.raises(StoreError):
            write_while_cut_off()
        assert num_predictions(db) == 0
    finally:
        db.close()
        other.close()


def test_one_statement_is_a_transaction_of_its_own(db: Database) -> None:
    with db.write_one() as conn:
        conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        if db.is_sqlite:  # others may write before the block ends: no lock is held
            with db.write() as other:
                other.execute(insert(schema.predictions).values(id="2", **PREDICTION))
    assert num_predictions(db) == (2 if db.is_sqlite else 1)


def test_one_statement_waits_its_turn(sqlite_store: Store) -> None:
    db, entered, left = sqlite_store.db, threading.Event(), threading.Event()

    def write_one() -> None:
        entered.set()
        with db.write_one() as conn:
            conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        left.set()

    with db.write() as conn:
        conn.execute(insert(schema.predictions).values(id="2", **PREDICTION))
        waiting = threading.Thread(target=write_one)
        waiting.start()
        assert entered.wait(10)
        assert not left.wait(0.05)
    waiting.join(10)
    assert num_predictions(db) == 2


def test_checkpoint_moves_the_log_into_the_file(sqlite_store: Store, settings: Settings) -> None:
    db = sqlite_store.db
    with db.write() as conn:
        for i in range(2000):  # more than SQLite's own limit of 1,000 pages
            conn.execute(
                insert(schema.predictions).values(id=str(i), **PREDICTION | {"label": f"{i}" * 500})
            )
    file = next(settings.home.glob("*.db"))
    before = file.stat().st_size
    assert before < 1_000_000  # no commit has done it
    db.checkpoint()
    assert file.stat().st_size > before + 1_000_000
    assert num_predictions(db) == 2000


def test_checkpoint_waits_for_nobody(sqlite_store: Store) -> None:
    db = sqlite_store.db
    with db.read() as reader, db.write() as conn:
        reader.execute(select(schema.predictions))
        conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        db.checkpoint()
    assert num_predictions(db) == 1
