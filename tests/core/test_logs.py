"""Log lines are JSON, and one event is written once a second at most."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest

from core.logs import JsonLines, LimitedHandler
from tests.support import concurrency


class _Log:
    def __init__(self, name: str) -> None:
        self.now = 100.0
        self.stream = io.StringIO()
        self.handler = LimitedHandler(self.stream, clock=lambda: self.now)
        self.handler.setFormatter(JsonLines())
        self.logger = logging.Logger(name)
        self.logger.addHandler(self.handler)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def log() -> _Log:
    return _Log("core.test")


def test_first_is_written_and_then_the_newest_with_a_count(log: _Log) -> None:
    for i in range(1_000):
        log.logger.warning("store.down", extra={"error": f"port {i}"})
    assert [line["error"] for line in log.lines] == ["port 0"]
    log.now += 1
    log.logger.warning("store.down", extra={"error": "later"})
    assert [line["error"] for line in log.lines] == ["port 0", "port 999"]
    assert [line.get("left_out") for line in log.lines] == [None, 998]


def test_a_flood_is_a_line_a_second(log: _Log) -> None:
    for _ in range(10_000):
        log.now += 0.001
        log.logger.error("request.failed", extra={"error": "x"})
    log.handler.close()
    assert 10 <= len(log.lines) <= 12
    assert sum(1 + line.get("left_out", 0) for line in log.lines) == 10_000


def test_what_was_left_out_is_written_with_the_next_event_or_at_the_end(log: _Log) -> None:
    for _ in range(3):
        log.logger.warning("a.down")
    log.now += 2
    log.logger.info("b.up")
    assert [line["event"] for line in log.lines] == ["a.down", "a.down", "b.up"]
    log.logger.warning("a.down")
    log.handler.close()
    assert [line["event"] for line in log.lines][3:] == ["a.down"]


def test_other_events_and_information_are_written_each(log: _Log) -> None:
    for event in ("a.down", "b.down"):
        log.logger.warning(event)
    for number in (1, 2):
        log.logger.info("version.loaded", extra={"version": number})
        log.logger.warning("setting.renamed", extra={"old": number})
    assert len(log.lines) == 6


def test_newest_error_keeps_no_frames(log: _Log) -> None:
    for _ in range(2):
        try:
            raise ValueError("damaged")
        except ValueError:
            log.logger.exception("request.crashed")
    log.handler.close()
    assert ["traceback" in line for line in log.lines] == [True, False]


def test_threads_lose_no_count(log: _Log) -> None:
    barrier = threading.Barrier(8)

    def write(_: int) -> None:
        barrier.wait()
        for _i in range(500):
            log.logger.warning("a.down")

    concurrency.in_threads(8, write)
    log.handler.close()
    assert sum(1 + line.get("left_out", 0) for line in log.lines) == 4_000


def test_decoders_of_images_and_forms_write_nothing_past_the_log() -> None:
    code = (
        "import logging, warnings; from core import logs; logs.configure('info');"
        "logging.getLogger('PIL.TiffImagePlugin').error('more samples');"
        "logging.getLogger('python_multipart.multipart').warning('invalid character');"
        "warnings.warn_explicit('damaged', UserWarning, 'x.py', 1, module='PIL.TiffImagePlugin')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b""
