"""Faults: each breaks something of a running server, and mends it again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from tests.support.server import Server
from tests.support.small_disk import filled
from tests.support.wait import wait_until

Fault = Callable[[Server, random.Random], None]

_RECOVERED_WITHIN_S = 90.0
_SHORTEST_S, _LONGEST_S = 1.0, 6.0


def kill_worker(server: Server, chance: random.Random) -> None:
    pids = [worker["pid"] for worker in server.status()["workers"]]
    killed = chance.choice(pids)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: _others(server, killed) >= server.num_workers, _RECOVERED_WITHIN_S)


def kill_trainer(server: Server, chance: random.Random) -> None:
    del chance
    pids = [pid for pid in processes_of(server.home) if b"training" in command_of(pid)]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_master(server: Server, chance: random.Random) -> None:
    """The others must end by themselves; then the server starts again on the same port."""
    del chance
    others = [pid for pid in processes_of(server.home) if pid != server.pid]
    os.kill(server.pid, signal.SIGKILL)
    what = "the processes of a killed master to end"
    wait_until(lambda: not any(map(is_alive, others)), _RECOVERED_WITHIN_S, what)
    server.start(_RECOVERED_WITHIN_S)


def kill_everything(server: Server, chance: random.Random) -> None:
    pids = processes_of(server.home)
    chance.shuffle(pids)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, processes_of(server.home))), _RECOVERED_WITHIN_S)
    server.start(_RECOVERED_WITHIN_S)


def fill_disk(server: Server, chance: random.Random) -> None:
    """The home must be on a small file system of its own."""
    with filled(server.home.parent):
        _last(chance)


def lock_sqlite(server: Server, chance: random.Random) -> None:
    connection = sqlite3.connect(server.home / "evergreen.db", isolation_level=None, timeout=30)
    with contextlib.closing(connection):
        connection.execute("BEGIN IMMEDIATE")
        _last(chance)
        connection.execute("ROLLBACK")


def during(break_it: Callable[[], AbstractContextManager[None]]) -> Fault:
    """A fault that lasts as long as the context."""

    def fault(server: Server, chance: random.Random) -> None:
        del server
        with break_it():
            _last(chance)

    return fault


def processes_of(home: Path) -> list[int]:
    """All processes of the server, found by EVERGREEN_HOME: the trainer has its own session."""
    setting = f"EVERGREEN_HOME={home}".encode()
    return [pid for pid in _all_processes() if setting in _environment(pid)]


def command_of(pid: int) -> list[bytes]:
    return _read(pid, "cmdline").split(b"\0")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _last(chance: random.Random) -> None:
    time.sleep(chance.uniform(_SHORTEST_S, _LONGEST_S))


def _others(server: Server, killed: int) -> int:
    with contextlib.suppress(Exception):  # the killed worker's connections are reset
        return sum(worker["pid"] != killed for worker in server.status()["workers"])
    return 0


def _all_processes() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _environment(pid: int) -> list[bytes]:
    return _read(pid, "environ").split(b"\0")


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
