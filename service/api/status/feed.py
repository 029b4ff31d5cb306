"""What a stream of the status sends: the events that are new since they were asked for last.

The database is asked for one row four times a second, as every process does anyway. The status
itself is read only when that row has changed, while something is under way, and every few seconds.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import Any

from fastapi.sse import format_sse_event

from core.errors import StoreError
from core.registry.latest import Latest, LatestPoller
from service.api.status.imports_feed import ImportsFeed
from service.api.status.read import read_status
from service.api.status.schemas import Status
from service.inference.serving_process import ServingProcess

POLL_EVERY_S = 0.25
#: Health, heartbeats and storage change without a change of the row.
READ_EVERY_S = 5.0
# Workers and the trainer report a moment after what they report has changed.
_SETTLED_AFTER_S = 2.0

# As they are sent, by name; those of imports by `imports_feed.PREFIX` and id.
Events = dict[str, bytes]

# What changes all the time is no change by itself.
_ALWAYS_NEW: Mapping[str, Any] = {
    "workers": {"__all__": {"last_seen"}},
    "clock": {"offset_seconds"},
    "disk": {"free_bytes"},
    "storage": {"days_until_full"},
}


class StatusFeed:
    """For any thread, one at a time."""

    def __init__(self, serving: ServingProcess) -> None:
        self._serving = serving
        self._poller = LatestPoller(serving.store.db)
        self._imports = ImportsFeed(serving.store)
        # None: the database does not answer.
        self._latest: Latest | None = None
        self._moved_imports: dict[str, str] = {}
        self._live: int | None = None
        self._newest_label = -1
        self._shown: dict[str, Any] = {}
        self._read_at = self._changed_at = -math.inf

    def poll(self) -> Events:
        """What has changed; at first, everything. Takes seconds at most, whatever the database
        does."""
        events: Events = {}
        now = time.monotonic()
        if self._has_changed():
            self._changed_at = now
        if self._is_moving(now) or now >= self._read_at + READ_EVERY_S:
            self._read_at = now
            status = read_status(self._serving)
            shown = _without_what_is_always_new(status)
            if shown != self._shown:
                self._shown = shown
                events["status"] = _event("status", status.model_dump_json())
        if self._latest is not None and self._latest.newest_label != self._newest_label:
            self._newest_label = self._latest.newest_label
            events["labels"] = _event("labels", json.dumps({"newest": self._newest_label}))
        events |= {name: _event("import", body) for name, body in self._moved_imports.items()}
        return events

    def _has_changed(self) -> bool:
        before = self._latest, self._live
        self._live = self._serving.slot.version
        try:
            self._latest, self._moved_imports = self._serving.health.read(self._ask)
        except StoreError:  # the log of the swap says what is wrong
            self._latest, self._moved_imports = None, {}
        return self._latest is not before[0] or self._live != before[1]

    def _ask(self) -> tuple[Latest, dict[str, str]]:
        before = self._poller.mark
        latest = self._poller.poll()
        if before is not None and before == self._poller.mark:
            return latest, {}
        return latest, self._imports.poll()

    def _is_moving(self, now: float) -> bool:
        latest = self._latest
        is_busy = latest is not None and (latest.has_unfinished_runs or latest.pending is not None)
        return is_busy or now < self._changed_at + _SETTLED_AFTER_S


def _without_what_is_always_new(status: Status) -> dict[str, Any]:
    return status.model_dump(exclude=dict(_ALWAYS_NEW))


def _event(name: str, body: str) -> bytes:
    return format_sse_event(event=name, data_str=body)
