"""Wait for what other threads or processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(
    is_done: Callable[[], bool],
    timeout_s: float = 20.0,
    what: str = "the condition",
    pause_s: float = 0.05,
) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:.0f} s for {what}")
        time.sleep(pause_s)
