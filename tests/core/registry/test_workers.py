from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from core.registry import workers
from core.registry.workers import DEAD_AFTER_S, HEARTBEAT_S, Role, Worker
from core.store.store import Store
from core.system.host import pid_space

NOW = 1_700_000_000.0
WORKER = Worker(
    id="a",
    role="serving",
    host="elsewhere",
    pid=1,
    provider="CPUExecutionProvider",
    version=3,
    ready=(2, 3),
    failed={7: "checksum-mismatch"},
    started_at=NOW - 60,
    last_seen=NOW,
)


def report(store: Store, *reported: Worker) -> None:
    with store.db.write() as conn:
        for worker in reported:
            workers.report(conn, worker)


def live(store: Store, now: float = NOW, role: Role = "serving") -> list[Worker]:
    with store.db.read() as conn:
        return workers.live(conn, now, role)


def test_worker_is_read_as_it_was_reported(store: Store) -> None:
    report(store, WORKER)
    assert live(store) == [WORKER]


def test_report_replaces_the_one_before(store: Store) -> None:
    report(store, WORKER, replace(WORKER, version=4, ready=(4,), failed={}))
    assert live(store) == [replace(WORKER, version=4, ready=(4,), failed={})]


def test_worker_that_was_forgotten_is_inserted_again(store: Store) -> None:
    report(store, WORKER)
    with store.db.write() as conn:
        workers.forget_dead(conn, NOW + 100_000)
    assert live(store) == []
    report(store, WORKER)
    assert live(store) == [WORKER]


@pytest.mark.parametrize(
    ("silent_s", "is_live"), [(0, True), (HEARTBEAT_S * 3, True), (DEAD_AFTER_S, False)]
)
def test_worker_is_dead_once_silent_too_long(store: Store, silent_s: float, is_live: bool) -> None:
    report(store, WORKER)
    assert bool(live(store, NOW + silent_s)) == is_live


def test_clock_that_is_set_back_keeps_no_dead_worker_alive(store: Store) -> None:
    report(store, WORKER)
    assert live(store, NOW - 3600) == []
    assert live(store, NOW - DEAD_AFTER_S / 2) == [WORKER]
    with store.db.write() as conn:
        workers.forget_dead(conn, NOW - 10_000)
    assert live(store) == []


def test_ended_process_of_this_machine_is_dead_immediately(store: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    here = replace(WORKER, id="here", pid_space=pid_space(), pid=os.getpid())
    report(store, here, replace(here, id="gone", pid=ended.pid))
    assert live(store) == [here]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_ended_process_is_dead_before_its_parent_reaps_it(store: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        report(store, replace(WORKER, pid_space=pid_space(), pid=ended.pid))
        assert live(store) == []


def test_pid_of_another_container_with_the_same_name_is_not_looked_up(store: Store) -> None:
    """Both have the pids 1 and so on, and one of them has ended here."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    here = replace(WORKER, host="evergreen", pid=ended.pid, pid_space=pid_space())
    there = replace(here, id="b", pid_space="another")
    older_release = replace(here, id="c", pid_space=None)
    report(store, here, there, older_release)
    assert live(store) == [there, older_release]
    assert live(store, NOW + DEAD_AFTER_S) == []


def test_workers_of_containers_with_equal_names_and_pids_are_two(store: Store) -> None:
    here = replace(WORKER, host="evergreen", pid=1, pid_space=pid_space())
    report(store, here, replace(here, id="b", pid_space="another"))
    assert [worker.id for worker in live(store)] == ["a", "b"]
    with store.db.write() as conn:
        workers.leave(conn, "a")
    assert [worker.id for worker in live(store)] == ["b"]


@pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="needs /proc")
def test_space_of_pids_is_of_the_boot_and_the_container() -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert pid_space() == f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
    assert pid_space() in subprocess.check_output(
        [sys.executable, "-c", "from core.system.host import pid_space; print(pid_space())"],
        text=True,
    )


def test_process_of_another_user_is_alive(store: Store) -> None:
    init = replace(WORKER, pid_space=pid_space(), pid=1)
    report(store, init)
    assert live(store) == [init]


def test_live_workers_are_of_one_role(store: Store) -> None:
    trainer = replace(WORKER, id="t", role="trainer", version=None, ready=(), failed={})
    report(store, WORKER, trainer)
    assert live(store) == [WORKER]
    assert live(store, role="trainer") == [trainer]


def test_worker_that_left_is_not_live(store: Store) -> None:
    report(store, WORKER)
    with store.db.write() as conn:
        workers.leave(conn, "a")
        workers.leave(conn, "a")
    assert live(store) == []


def test_forget_dead_keeps_workers_that_died_lately(store: Store) -> None:
    report(store, WORKER)
    with store.db.write() as conn:
        workers.forget_dead(conn, NOW + 60)
    assert live(store) == [WORKER]
