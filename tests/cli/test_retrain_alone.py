"""`evergreen retrain --wait` without a trainer: it does the run that was asked for and no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import runs
from core.settings import load_settings
from core.store.store import Store, open_store
from tests.cli.conftest import Run
from tests.cli.photo_folder import write_photos
from training.worker import planned_runs
from training.worker.planner import Plan

pytestmark = pytest.mark.slow


@pytest.fixture
def opened(home: Path, tmp_path: Path, run: Run) -> Iterator[Store]:
    run("import", write_photos(tmp_path / "album"))
    store = open_store(load_settings())
    yield store
    store.db.close()


def the_blocks_run(store: Store) -> runs.Run:
    with store.db.read() as conn:
        (found,) = [run for run in runs.listing(conn, 100) if run.tier == "blocks"]
    return found


def test_planned_run_waits_unspent_after_five_calls(
    opened: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned_runs, "_HAS_TORCH", True)
    monkeypatch.setattr(planned_runs, "plan", lambda *_: Plan("blocks", 0.5, 4, ("a test",)))
    for _ in range(5):
        result = run("retrain", "--wait")
        assert result.exit_code in (0, 3), result.output
        planned = the_blocks_run(opened)
        assert (planned.state, planned.attempts, planned.trigger) == ("waiting", 0, "plan")
        assert f"blocks run {planned.id} is waiting" in result.stderr
        assert "evergreen retrain --blocks --wait" in result.stderr


@pytest.mark.training
def test_ctrl_c_hands_a_run_of_blocks_back_and_the_next_call_ends_it(
    opened: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = time.sleep

    def interrupt_a_run(seconds: float) -> None:
        is_caller = threading.current_thread() is threading.main_thread()
        if is_caller and the_blocks_run(opened).state == "running":
            raise KeyboardInterrupt
        sleep(seconds)

    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr("cli.follow_run.time.sleep", interrupt_a_run)
            result = run("retrain", "--blocks", "--minutes", "0.1", "--wait")
        assert result.exit_code == 130
        assert "waits for another trainer" in result.stderr
        handed = the_blocks_run(opened)
        assert (handed.state, handed.attempts) == ("waiting", 0)
    result = run("retrain", "--blocks", "--minutes", "0.1", "--wait")
    assert result.exit_code in (0, 3), result.output
    assert the_blocks_run(opened).state == "finished"
