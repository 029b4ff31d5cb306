"""The analyst: when it has a version analysed, and that it makes way."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest

from core.registry.latest import Latest
from core.store.store import Store
from training.worker import analyst as analyst_module
from training.worker.analyst import Analyst

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
SUCCEED, FAIL = (sys.executable, "-c", ""), (sys.executable, "-c", "raise SystemExit(3)")
IDLE = Latest(newest_version=2, newest_label=10)
LABELLED = Latest(newest_version=2, newest_label=11)
RUNNING = Latest(newest_version=2, newest_label=10, num_runs_running=1)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Analysed:
    """An analyst that polls what it is told, at times that it is told."""

    def __init__(self, store: Store, command: tuple[str, ...]) -> None:
        self.clock = Clock()
        self.analyst = Analyst(store, command, self.clock)
        self.analyst.start()

    def poll(self, after_s: float, latest: Latest = IDLE) -> bool:
        """Whether a child process runs then."""
        self.clock.now += after_s
        self.analyst.poll(latest)
        return self.analyst._child is not None

    def wait_for_child(self) -> None:
        assert self.analyst._child is not None
        self.analyst._child.wait(20)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version waits to be analysed."""
    monkeypatch.setattr(analyst_module, "find_version", lambda conn: object())


@pytest.fixture
def sleeping(sqlite_store: Store, waiting: None) -> Iterator[Analysed]:
    analysed = Analysed(sqlite_store, SLEEP)
    yield analysed
    analysed.analyst.stop()


def test_analysis_begins_a_second_after_the_last_label_or_run(sleeping: Analysed) -> None:
    assert not sleeping.poll(0.0)
    assert not sleeping.poll(5.0, LABELLED)
    assert not sleeping.poll(0.9, LABELLED)
    assert sleeping.poll(0.2, LABELLED)


@pytest.mark.parametrize("work", [LABELLED, RUNNING])
def test_label_or_run_ends_the_analysis_at_once(sleeping: Analysed, work: Latest) -> None:
    sleeping.poll(0.0)
    assert sleeping.poll(2.0)
    child = sleeping.analyst._child
    assert child is not None
    assert not sleeping.poll(0.05, work)
    assert child.returncode is not None
    assert not sleeping.poll(0.5, work)


def test_labels_that_keep_coming_hold_it_up_for_five_minutes(sleeping: Analysed) -> None:
    sleeping.poll(0.0)
    assert sleeping.poll(2.0)
    seconds = 0
    while not sleeping.poll(0.5, Latest(newest_version=2, newest_label=100 + seconds)):
        seconds += 1
        assert seconds < 1000
    assert 590 <= seconds <= 600
    assert sleeping.poll(0.5, Latest(newest_version=2, newest_label=5000))


def test_analysis_takes_a_sixth_of_the_time(sqlite_store: Store, waiting: None) -> None:
    analysed = Analysed(sqlite_store, SUCCEED)
    analysed.poll(0.0)
    assert analysed.poll(2.0)
    analysed.wait_for_child()
    assert not analysed.poll(10.0)
    assert not analysed.poll(49.0)
    assert analysed.poll(2.0)
    analysed.analyst.stop()


def test_analysis_that_fails_is_tried_again_ever_later(
    sqlite_store: Store, waiting: None, caplog: pytest.LogCaptureFixture
) -> None:
    analysed = Analysed(sqlite_store, FAIL)
    analysed.poll(0.0)
    for pause_s in (60, 120, 240):
        assert analysed.poll(2.0)
        analysed.wait_for_child()
        with caplog.at_level(logging.ERROR):
            assert not analysed.poll(0.0)
        assert not analysed.poll(pause_s - 3.0)
        analysed.poll(1.5)
    assert [each.message for each in caplog.records] == ["analysis.died"] * 3


def test_nothing_is_begun_before_the_start_or_without_a_version(sqlite_store: Store) -> None:
    analysed = Analysed(sqlite_store, SLEEP)
    analysed.poll(0.0)
    assert not analysed.poll(2.0), "there is no version"
    unstarted = Analyst(sqlite_store, SLEEP, analysed.clock)
    unstarted.poll(IDLE)
    analysed.clock.now += 100
    unstarted.poll(IDLE)
    assert unstarted._child is None


def test_stop_ends_the_child(sleeping: Analysed) -> None:
    sleeping.poll(0.0)
    sleeping.poll(2.0)
    child = sleeping.analyst._child
    assert child is not None
    sleeping.analyst.stop()
    assert child.returncode is not None
