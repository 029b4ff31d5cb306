"""A tree of processes: its memory, read from /proc (Linux), and how to pause it."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Memory:
    # Counts shared pages in each process.
    rss_mib: float
    # Counts shared pages once. None where the kernel does not report it.
    pss_mib: float | None


def tree(pid: int) -> list[int]:
    """The process ids of a process and its living descendants, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parent = _parent(int(entry.name))
            if parent is not None:
                children.setdefault(parent, []).append(int(entry.name))
    pids, todo = [], [pid]
    while todo:
        pids.append(todo.pop())
        todo += children.get(pids[-1], [])
    return pids


def pause(pid: int) -> None:
    """Pause the process and its descendants. Parents go first, or a supervisor would find its child
    stuck."""
    for each in tree(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGSTOP)


def resume(pid: int) -> None:
    """Resume them, parents last."""
    for each in reversed(tree(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGCONT)


def memory(pids: list[int]) -> Memory:
    shares = [_pss_mib(pid) for pid in pids]
    known = [share for share in shares if share is not None]
    return Memory(sum(rss_mib(pid) for pid in pids), sum(known) if known else None)


def rss_mib(pid: int) -> float:
    """0 for a process that has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / MIB
    except OSError:
        return 0.0


def _pss_mib(pid: int) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    sizes_kib = [line.split()[1] for line in lines if line.startswith("Pss:")]
    return int(sizes_kib[0]) / 1024 if sizes_kib else None


def _parent(pid: int) -> int | None:
    try:
        # The name before the parent's id, in brackets, may contain spaces and brackets.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
