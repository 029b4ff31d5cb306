from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.registry import promotions, versions, workers
from core.registry.workers import Worker
from core.settings import load_settings
from core.store.store import Store, open_store
from tests.cli.conftest import Run

pytestmark = pytest.mark.slow  # not in `make check`


@pytest.fixture
def opened(home: Path) -> Iterator[Store]:
    """A store with a second version, like the first."""
    store = open_store(load_settings())
    with store.db.write() as conn:
        manifest = versions.read_manifest(versions.get(conn, 1), store)
        versions.publish(conn, store, manifest, {"promote": True, "reason": "a test"})
    yield store
    store.db.close()


def _report(store: Store, *, ready: tuple[int, ...], failed: dict[int, str]) -> None:
    now = time.time()
    worker = Worker("w", "serving", "elsewhere", 1, "cpu", 1, ready, failed, now, now)
    with store.db.write() as conn:
        workers.report(conn, worker)


def test_promote_waits_until_the_servers_switch(opened: Store, run: Run) -> None:
    _report(opened, ready=(1, 2), failed={})
    result = run("promote", 2)
    assert result.exit_code == 0
    assert "Version 2 is the champion (on 1 serving process, 0." in result.stdout
    with opened.db.read() as conn:
        newest = promotions.newest_activation(conn)
    assert newest is not None
    assert (newest.version, newest.who) == (2, "command line")
    assert newest.activate_at <= time.time()


def test_version_that_a_server_cannot_load_is_not_promoted(opened: Store, run: Run) -> None:
    _report(opened, ready=(1,), failed={2: "no memory left"})  # promotion 2
    result = run("promote", 2)
    assert result.exit_code == 1
    assert "version 2 did not become champion" in result.stderr
    assert "no memory left" in result.stderr
    assert result.stdout == ""


def test_version_that_nobody_can_load_is_not_promoted_without_a_server(
    opened: Store, run: Run
) -> None:
    with opened.db.read() as conn:
        manifest = versions.get(conn, 2).manifest
    opened.blobs.delete(manifest)
    result = run("promote", 2)
    assert result.exit_code == 3
    assert f"version 2 cannot be loaded by any worker: blob {manifest}" in result.stderr
    with opened.db.read() as conn:
        newest = promotions.newest_activation(conn)
    assert newest is not None
    assert newest.version == 1


def test_rollback_skips_a_version_whose_files_are_lost(opened: Store, run: Run) -> None:
    run("promote", 2)
    with opened.db.write() as conn:
        manifest = versions.read_manifest(versions.get(conn, 1), opened)
        versions.publish(conn, opened, manifest, {"promote": True, "reason": "a test"})
        lost = versions.get(conn, 2).manifest
    run("promote", 3)
    opened.blobs.delete(lost)
    result = run("rollback")
    assert result.exit_code == 0
    assert "Skipped: version 2 cannot be loaded" in result.stderr
    assert "Version 1 is the champion" in result.stdout
    assert "files lost" in run("versions").stdout
    shown = run("versions", 2)
    assert f"because of its manifest.json: blob {lost}" in " ".join(shown.stderr.split())
    assert json.loads(run("versions", 2, "--json").stdout)["lost_files"] == {
        "manifest.json": "missing"
    }


def test_error_about_an_unknown_version_names_the_known_ones(home: Path, run: Run) -> None:
    result = run("promote", 9)
    assert result.exit_code == 2
    assert result.stderr == "evergreen: version 9 does not exist; there are 1 to 1\n"
