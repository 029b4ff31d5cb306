"""Whether a thread waits for a core. Another thread asks that, as the one that waits cannot."""

from __future__ import annotations

import time
from pathlib import Path

# At nice 10 a thread gets more than that beside 4 others on its core, and at idle priority less.
_LEAST_SHARE = 0.02


class CoreWatch:
    def __init__(self) -> None:
        # Set by the thread that is watched, when its work begins.
        self.thread_id: int | None = None
        # How many looks found it waiting, less those that did not: at least 0.
        self.num_waits = 0
        self._looked_at = time.monotonic()
        self._used_s = 0.0

    @property
    def seconds_since_look(self) -> float:
        return time.monotonic() - self._looked_at

    def look(self) -> bool:
        """Whether the thread has wanted a core since the last look, and got almost none."""
        least_s = _LEAST_SHARE * self.seconds_since_look
        self._looked_at = time.monotonic()
        is_runnable, used_s = _state(self.thread_id)
        is_waiting = is_runnable and used_s - self._used_s < least_s
        self._used_s = used_s
        self.num_waits = max(0, self.num_waits + (1 if is_waiting else -1))
        return is_waiting


def _state(thread_id: int | None) -> tuple[bool, float]:
    """Whether a thread of this process runs or could, and its seconds of CPU time (proc(5))."""
    folder = Path(f"/proc/self/task/{thread_id}")
    try:
        state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        return state == "R", int((folder / "schedstat").read_text().split()[0]) / 1e9
    except (OSError, ValueError, IndexError):  # not Linux, or the work has not begun
        return False, 0.0
