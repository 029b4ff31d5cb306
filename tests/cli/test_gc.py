"""`evergreen gc`: what it would delete, and that it does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import predictions
from core.ids import new_id
from core.predictions import Prediction
from core.retention import lease
from core.retention.sweep import Sweeper
from core.settings import load_settings
from core.store.blobs import sha256
from core.store.store import Store, open_store
from tests.cli.conftest import Run

pytestmark = pytest.mark.slow  # not in `make check`

IMAGE = b"an image that nobody labelled"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    """With an image of last year, and one of today."""
    opened = open_store(load_settings())
    for age_s, image in ((40 * 86_400.0, IMAGE), (0.0, b"another")):
        digest = opened.blobs.put(image)
        at = time.time() - age_s
        row = Prediction(new_id(), digest, 1, "cat", 0.9, 0.8, at, None, len(image), "all")
        predictions.add(opened.db, [row])
    yield opened
    opened.db.close()


def test_dry_run_says_what_goes_and_why(store: Store, run: Run) -> None:
    result = run("gc", "--dry-run")
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    assert f"images 1 {len(IMAGE)} bytes max_days = 30" in words
    assert json.loads(run("gc", "--dry-run", "--json").stdout) == [
        {"kind": "images", "num_items": 1, "num_bytes": len(IMAGE), "why": "max_days = 30"}
    ]
    assert store.blobs.has(sha256(IMAGE))


def test_gc_deletes_it_and_a_second_one_nothing(store: Store, run: Run) -> None:
    result = run("gc")
    assert result.exit_code == 0
    assert f"images 1 {len(IMAGE)} bytes" in " ".join(result.stdout.split())
    assert not store.blobs.has(sha256(IMAGE))
    assert store.blobs.has(sha256(b"another"))
    assert run("gc").stdout == "Deleted: nothing.\n"


def test_recipe_sets_the_limits_and_a_wrong_one_deletes_nothing(
    store: Store, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "recipe.toml"
    monkeypatch.setenv("EVERGREEN_RECIPE", str(recipe))
    recipe.write_text("[capture]\nmax_days = 100\n")
    assert run("gc").stdout == "Deleted: nothing.\n"
    recipe.write_text("[capture]\nmax_day = 100\n")
    result = run("gc")
    assert (result.exit_code, "capture.max_day is unknown" in result.stderr) == (2, True)
    assert store.blobs.has(sha256(IMAGE))


def test_ctrl_c_ends_it_and_frees_the_lease(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Sweeper, now: float) -> Iterator[None]:
        raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patched:
        patched.setattr(Sweeper, "sweep", interrupted)
        assert run("gc").exit_code == 130
    with store.db.write() as conn:
        assert lease.acquire(conn, "another", time.time())


def test_gc_beside_a_sweep_waits_for_it(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.db.write() as conn:
        lease.acquire(conn, "trainer", time.time())
    monkeypatch.setattr("cli.gc.LEASE_S", 0.0)
    result = run("gc")
    assert (result.exit_code, "a trainer is sweeping" in result.stderr) == (3, True)
    assert store.blobs.has(sha256(IMAGE))
