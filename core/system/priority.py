"""CPU priority of threads and sessions, so that predictions come first."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path

# At nice 10 a thread gets about a tenth of the CPU time of one at normal priority.
NICE = 10

_AUTOGROUP = Path("/proc/self/autogroup")


def yield_to_others() -> None:
    """Lower the priority of this thread, for good: raising it again needs a privilege."""
    if sys.platform == "linux":  # elsewhere a niceness is that of the whole process
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def be_idle() -> None:
    """Run this thread, and those that it starts, on idle CPUs only, for good (sched(7),
    SCHED_IDLE). Where a sandbox forbids that, the thread has low priority at least."""
    yield_to_others()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def session_yields(niceness: int) -> None:
    """Lower the priority of this process's session, for good, if the process leads it.

    Where Linux divides CPU time among sessions first (sched(7), autogroup), the priority of a
    thread counts only within its session."""
    if sys.platform == "linux" and os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            _AUTOGROUP.write_text(str(niceness))
