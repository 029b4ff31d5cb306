"""This machine: its name, and the CPU cores that this process may use."""

from __future__ import annotations

import os
import socket


def this_host() -> str:
    return socket.gethostname()


def available_cores() -> int:
    """CPU cores that this process may use. A container's limit counts where the system shows it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
