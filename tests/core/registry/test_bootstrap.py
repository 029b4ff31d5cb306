from __future__ import annotations

from pathlib import Path

import pytest

from core.models.backbones import Runtime
from core.models.pretrained import choice as pretrained
from core.models.pretrained import lite0, starter
from core.models.servable import load
from core.registry import activations, promotions, versions
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.database import Database
from core.store.store import Store, open_store
from tests.support import tiny
from tests.support.concurrency import in_processes

pytestmark = pytest.mark.slow  # not in `make check`


def check_is_first(db: Database) -> None:
    with db.read() as conn:
        assert [version.number for version in versions.listing(conn, limit=10)] == [1]
        (activation,) = activations.history(conn, 10)
        assert promotions.pending(conn) is None
    assert activation.version == 1
    assert activation.activate_at <= activation.created_at


@pytest.mark.parametrize("name", pretrained.NAMES)
def test_new_installation_serves_a_pretrained_model(store: Store, name: str) -> None:
    assert ensure_first_version(store, name)
    check_is_first(store.db)
    with store.db.read() as conn:
        version = versions.get(conn, 1)
    servable = load(versions.read_manifest(version, store), store.blobs, Runtime("cpu"))
    assert version.passed_gate
    assert servable.manifest.backbone_name == name
    assert servable.manifest.classes == pretrained.load(name).head.classes


def test_default_model_is_efficientnet_lite0(sqlite_store: Store) -> None:
    assert ensure_first_version(sqlite_store)
    with sqlite_store.db.read() as conn:
        manifest = versions.read_manifest(versions.get(conn, 1), sqlite_store)
    assert (manifest.backbone_name, len(manifest.classes)) == (lite0.NAME, 1000)


def test_home_of_the_starter_keeps_it(sqlite_store: Store) -> None:
    ensure_first_version(sqlite_store, starter.NAME)
    assert not ensure_first_version(sqlite_store)
    with sqlite_store.db.read() as conn:
        manifest = versions.read_manifest(versions.get(conn, 1), sqlite_store)
    assert manifest.backbone_name == starter.NAME


def test_second_start_changes_nothing(sqlite_store: Store) -> None:
    ensure_first_version(sqlite_store)
    assert not ensure_first_version(sqlite_store)
    check_is_first(sqlite_store.db)


def test_installation_with_versions_is_left_alone(sqlite_store: Store) -> None:
    tiny.activate(sqlite_store, tiny.publish(sqlite_store))
    assert not ensure_first_version(sqlite_store)
    check_is_first(sqlite_store.db)


@pytest.mark.slow
@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def test_four_concurrent_processes_publish_exactly_one_version(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = "" if database == "sqlite" else request.getfixturevalue("empty_postgres_url")
    printed = in_processes(
        4,
        "from core.settings import load_settings\nfrom core.store.store import open_store\n"
        "from core.registry.bootstrap import ensure_first_version",
        "store = open_store(load_settings())\nprint(ensure_first_version(store))\nstore.db.close()",
        EVERGREEN_HOME=str(tmp_path),
        EVERGREEN_DATABASE_URL=url,
    )
    assert sorted(printed) == ["False\n"] * 3 + ["True\n"]
    store = open_store(Settings(home=tmp_path, database_url=url))
    check_is_first(store.db)
    store.db.close()
