"""A tree of processes: what it holds, read from /proc (Linux), and that it stands still."""

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
    # Pages that processes share count in each of them.
    rss_mib: float
    # They count once; None where the kernel does not tell.
    pss_mib: float | None


def tree(pid: int) -> list[int]:
    """The process and all below it that live."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parent = _parent(int(entry.name))
            if parent is not None:
                children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def pause(pid: int) -> None:
    """Stop the process and all below it where they are. Who watches over others goes first, or it
    would find them stuck."""
    for one in tree(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGSTOP)


def resume(pid: int) -> None:
    """Let them go on, who watches over others last."""
    for one in reversed(tree(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGCONT)


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
    found = [line.split()[1] for line in lines if line.startswith("Pss:")]
    return int(found[0]) / 1024 if found else None


def _parent(pid: int) -> int | None:
    try:
        # The name before it, in brackets, may hold anything.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
