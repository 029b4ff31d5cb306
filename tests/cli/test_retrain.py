from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import leases
from core.registry import workers
from core.registry.workers import Worker
from core.settings import load_settings
from core.store.store import Store, open_store
from tests.cli.conftest import Run
from tests.cli.photo_folder import write_photos

pytestmark = pytest.mark.slow  # not in `make check`


@pytest.fixture
def opened(home: Path) -> Iterator[Store]:
    store = open_store(load_settings())
    yield store
    store.db.close()


@pytest.mark.slow
def test_retrain_trains_a_version_without_any_server(home: Path, tmp_path: Path, run: Run) -> None:
    folder = write_photos(tmp_path / "album")
    run("import", folder)
    result = run("retrain", "--wait")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Version 2 is the champion")
    assert "training in this process" in result.stderr
    answers = json.loads(
        run("predict", "--json", folder / "red/0.jpg", folder / "blue/1.jpg").stdout
    )
    assert [(answer["version"], answer["label"]) for answer in answers] == [(2, "red"), (2, "blue")]
    status = json.loads(run("status", "--json").stdout)
    assert status["trainers"] == []
    assert status["last_run"]["outcome"] == "promoted"
    assert status["labels"]["waiting"] == 0
    _check_champions(run)
    _check_versions(run)


def _check_champions(run: Run) -> None:
    assert "Version 1 is the champion (no server" in run("rollback", "--why", "a test").stdout
    live = json.loads(run("status", "--json").stdout)["champion"]
    assert (live["version"], live["why"]) == (1, "a test")
    result = run("rollback")
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert "nothing to go back to: version 1 is the first champion" in result.stderr
    assert run("promote", 2).exit_code == 0
    assert run("promote", 2).stdout == "Version 2 is the champion already.\n"


def _check_versions(run: Run) -> None:
    printed = run("versions").stdout
    assert max(map(len, printed.splitlines())) <= 80
    assert "blue, red" in printed
    assert "1,000 classes" in printed
    assert [v["is_champion"] for v in json.loads(run("versions", "--json").stdout)] == [True, False]
    for words in (("versions", 2), ("versions", "show", 2)):
        assert "chance" in run(*words).stdout  # a check of the gate
    manifest = json.loads(run("versions", 2, "--json").stdout)["manifest"]
    assert manifest["classes"] == ["blue", "red"]


def test_retrain_with_too_few_labels_says_what_is_missing(home: Path, run: Run) -> None:
    result = run("retrain", "--wait")
    assert result.exit_code == 3
    assert "nothing is labelled yet" in result.stderr


def test_retrain_without_a_trainer_says_so_and_makes_one_run(
    home: Path, tmp_path: Path, run: Run
) -> None:
    run("import", write_photos(tmp_path / "album", per_class=3))
    result = run("retrain")
    assert result.exit_code == 0
    assert "No trainer is running" in result.stdout
    assert "waits already" in run("retrain").stdout


@pytest.mark.parametrize(
    ("state", "outcome", "code"),
    [
        ("finished", "held-back", 3),
        ("finished", "promoted", 0),
        ("failed", None, 1),
        ("cancelled", None, 1),
    ],
)
def test_exit_code_of_retrain_follows_the_run_of_another_trainer(
    state: str,
    outcome: str | None,
    code: int,
    opened: Store,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run("import", write_photos(tmp_path / "album", per_class=3))
    now = time.time()
    with opened.db.write() as conn:
        here = Worker("t", "trainer", "elsewhere", 1, "cpu", None, (), {}, now, now)
        workers.report(conn, here)

    def another_trainer(_: float) -> None:
        with opened.db.write() as conn:
            claimed = leases.claim(conn, "t", time.time())
            if claimed is not None:
                ending = {"outcome": outcome, "version": 2, "reason": "so it is"}
                leases.finish(conn, claimed.id, "t", state=state, now=time.time(), **ending)  # type: ignore[arg-type]

    monkeypatch.setattr("cli.follow_run.time.sleep", another_trainer)
    result = run("retrain", "--wait")
    assert result.exit_code == code
    assert "so it is" in result.output
