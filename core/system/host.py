"""This machine: its name, and the CPU cores that this process may use."""

from __future__ import annotations

import functools
import os
import socket
import uuid
from pathlib import Path


def this_host() -> str:
    return socket.gethostname()


@functools.cache
def pid_space() -> str:
    """Where the pids of this process count: on this machine, since it started, and in this
    container. Containers may have one name, and use the same pids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # macOS, which has no containers
        return f"{this_host()}-{uuid.getnode():x}"
    return f"{boot}-{namespace}"


def available_cores() -> int:
    """CPU cores that this process may use. A container's limit counts where the system shows it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
