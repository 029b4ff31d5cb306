"""Log lines: a JSON object each, with `event` and its fields. Never inputs, never secrets."""

from __future__ import annotations

import json
import logging
import sys
import time

_PACKAGES = ("core", "service", "training", "cli")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


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


def configure(level: str) -> None:
    """Write the log lines of our packages to standard error. Only entry points call this."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for package in _PACKAGES:
        logger = logging.getLogger(package)
        logger.handlers = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False
