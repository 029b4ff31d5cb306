"""This machine: its name, and the CPU cores that this process may use."""

from __future__ import annotations

import functools
import os
import platform
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


@functools.cache
def cuts_products_off(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU adds products of 8-bit integers in 16 bits, so that large sums are cut off:
    an x86 without VNNI does (onnxruntime's guide, "Quantize ONNX Models")."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "_vnni" not in cpuinfo.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        return True
