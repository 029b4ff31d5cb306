"""Log lines: a JSON object each, with `event` and its fields. Never inputs, never secrets."""

from __future__ import annotations

import copy
import json
import logging
import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

_PACKAGES = ("core", "service", "training", "cli")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
INTERVAL_S = 1.0
# Of these, each line names another thing, and their number is that of the things.
_LISTED = frozenset(
    (
        "setting.renamed",
        "recipe.key_renamed",
        "class.merged",
        "trainer.died",
        "version.load_failed",
    )
)


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            "pid": record.process,
        }
        line.update((k, v) for k, v in vars(record).items() if k not in _STANDARD)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


@dataclass(slots=True)
class _Said:
    at: float
    # The newest that was left out since, and how many were.
    newest: logging.LogRecord | None = None
    num_left_out: int = 0


class LimitedHandler(logging.StreamHandler[TextIO]):
    """Writes each warning or error once a second at most, so that a fault that every request meets
    does not fill the disk. The first is always written, and after a second the newest one.

    Errors of one event are the same event, whatever their texts. `left_out` counts what was not
    written.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(stream)
        self._clock = clock
        self._said: dict[tuple[str, str], _Said] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now = self._clock()
        self._write_newest(now)
        event = record.getMessage()
        if record.levelno < logging.WARNING or event in _LISTED:
            super().emit(record)
            return
        said = self._said.get((record.name, event))
        if said is None or now - said.at >= INTERVAL_S:
            self._said[record.name, event] = _Said(now)
            super().emit(record)
            return
        said.num_left_out += 1
        said.newest = copy.copy(record)
        said.newest.exc_info = None  # its frames hold images

    def close(self) -> None:
        self._write_newest(math.inf)
        super().close()

    def _write_newest(self, now: float) -> None:
        """Write the newest of what was left out before the last second."""
        for said in list(self._said.values()):
            if said.newest is not None and now - said.at >= INTERVAL_S:
                said.newest.left_out = said.num_left_out - 1
                super().emit(said.newest)
                said.at, said.newest, said.num_left_out = now, None, 0


def configure(level: str) -> None:
    """Write the log lines of our packages to standard error. Only entry points call this."""
    handler = LimitedHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for package in _PACKAGES:
        logger = logging.getLogger(package)
        logger.handlers = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False
    # Of damaged images and forms, for each: the error of the request says enough.
    for library in ("PIL", "python_multipart"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"PIL\.")
