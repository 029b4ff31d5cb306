"""The table of the workers of a server: which live, and how many images each has in flight."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.traffic import load_table
from service.traffic.load_table import LoadTable, open_load_table


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def other(tmp_path: Path, clock: Clock) -> Iterator[LoadTable]:
    """Of another worker, as far as the table can tell."""
    # Locks belong to a process, so both tables would claim the same row.
    table = LoadTable(tmp_path / "table", clock)
    table.own_row = 7
    yield table
    table.close()


@pytest.fixture
def mine(tmp_path: Path, clock: Clock) -> Iterator[LoadTable]:
    table = LoadTable(tmp_path / "table", clock)
    yield table
    table.close()


def test_row_without_a_recent_heartbeat_does_not_count(
    mine: LoadTable, other: LoadTable, clock: Clock
) -> None:
    other.write_heartbeat()
    assert mine.peers() == {7: os.getpid()}
    clock.now += load_table.FRESH_S + 1
    assert mine.peers() == {}


def test_row_from_before_a_reboot_does_not_count(
    mine: LoadTable, other: LoadTable, clock: Clock
) -> None:
    clock.now += 1_000_000
    other.write_heartbeat()
    clock.now = 5.0
    assert mine.peers() == {}


def test_row_is_free_again_however_its_process_ended(
    tmp_path: Path,
) -> None:
    table = LoadTable(tmp_path / "table")
    table.write_heartbeat()
    script = (
        "import os, sys; from pathlib import Path\n"
        "from service.traffic.load_table import LoadTable\n"
        "table = LoadTable(Path(sys.argv[1])); in_flight = table.in_flight(table.own_row)\n"
        "table.write_heartbeat(); table.write_in_flight(40)\n"
        "print(table.own_row, *table.peers(), in_flight, flush=True); os.kill(os.getpid(), 9)"
    )
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "table")],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert ended.stdout.split("\n")[0] == "1 0 0", "what the process before wrote is cleared"
        assert table.in_flight(1) == 40
    table.close()


def test_tables_of_servers_that_have_ended_are_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f"here-{ended.pid}.load").touch()
    (tmp_path / f"here-{ended.pid}.load.3.sock").touch()
    (tmp_path / f"elsewhere-{ended.pid}.load").touch()
    table = open_load_table(tmp_path, "here")
    assert table is not None
    table.close()
    assert {path.name for path in tmp_path.iterdir()} == {
        f"here-{os.getppid()}.load",
        f"elsewhere-{ended.pid}.load",
    }


def test_containers_with_the_same_pids_have_tables_of_their_own(tmp_path: Path) -> None:
    ours, theirs = (open_load_table(tmp_path, space) for space in ("ours", "theirs"))
    assert ours is not None
    assert theirs is not None
    theirs.write_heartbeat()
    assert ours.peers() == {}
    assert ours.socket_path(0) != theirs.socket_path(0)
    ours.close()
    theirs.close()


@pytest.mark.parametrize(("is_old", "is_used"), [(True, False), (True, True), (False, False)])
def test_old_table_of_another_boot_is_removed_unless_it_is_locked(
    tmp_path: Path, is_old: bool, is_used: bool
) -> None:
    table, socket = tmp_path / "boot-1.load", tmp_path / "boot-1.load.0.sock"
    for path in (table, socket):
        path.touch()
        if is_old:
            os.utime(path, (1.0, 1.0))
    # A process does not see its own locks.
    script = (
        "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX, 1)\n"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script if is_used else "print(flush=True)", str(table)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        opened = open_load_table(tmp_path, "here")
    assert opened is not None
    opened.close()
    is_kept = is_used or not is_old
    assert (table.exists(), socket.exists()) == (is_kept, is_kept)


def test_table_that_cannot_be_opened_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "shared").touch()
    assert open_load_table(tmp_path / "shared", "here") is None
    assert "load_table.unavailable" in caplog.messages
