"""Priority of threads and sessions: who answers has the processor first."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path

# At nice 10 a thread gets about a tenth of what one that answers gets, where both want a core.
NICE = 10

_AUTOGROUP = Path("/proc/self/autogroup")


def yield_to_others() -> None:
    """Of this thread, for good: without privilege, nobody takes a niceness back."""
    if sys.platform == "linux":  # elsewhere the niceness is the whole process's
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def be_idle() -> None:
    """Of this thread, and of those that it starts, for good: it runs on cores that nobody else
    wants (sched(7), SCHED_IDLE). Where that is forbidden, as a sandbox may, it yields at least."""
    yield_to_others()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def session_yields(niceness: int) -> None:
    """Where Linux shares the processor out among sessions first (sched(7), autogroup), the
    priorities of threads count within one only: the session of this process yields to others, for
    good. It must be its own; someone else's is left alone."""
    if sys.platform == "linux" and os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            _AUTOGROUP.write_text(str(niceness))
