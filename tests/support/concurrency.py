"""Run the same thing many times concurrently, in threads or in processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from core.store.database import Database

T = TypeVar("T")
U = TypeVar("U")
ROOT = Path(__file__).parents[2]
_WITHIN_S = 60.0
_OVERLAP_S = 0.15


def in_threads(count: int, do: Callable[[int], T]) -> list[T]:
    """Call `do(0)`, `do(1)`, … concurrently, and return their results.

    Raises what one of them raised.
    """
    start = threading.Barrier(count)

    def one(i: int) -> T:
        start.wait(_WITHIN_S)
        return do(i)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count), timeout=_WITHIN_S))


def overlapping(
    db: Database, first: Callable[[Connection], T], second: Callable[[Connection], U]
) -> tuple[T, U]:
    """Begin the transaction of `second` before that of `first` is committed."""
    with ThreadPoolExecutor(1) as pool:

        def write_second() -> U:
            with db.write() as conn:
                return second(conn)

        with db.write() as conn:
            first_result = first(conn)
            future = pool.submit(write_second)
            # Long enough for the second to reach the first's rows, or the lock on them.
            wait([future], timeout=_OVERLAP_S)
        return first_result, future.result(_WITHIN_S)


def in_processes(count: int, setup: str, do: str, **environ: str) -> list[str]:
    """Run the Python code `do` concurrently in new processes, each after the code `setup`.

    Returns what each process printed. Fails with the traceback of a process that failed.
    """
    program = f"{setup}\nprint('ready', flush=True)\ninput()\n{do}\n"
    children = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()  # "ready", or nothing if it failed
        for child in children:
            assert child.stdin is not None
            try:
                child.stdin.write("go\n")
                child.stdin.flush()
            except BrokenPipeError:
                continue
        printed = []
        for child in children:
            out, err = child.communicate(timeout=_WITHIN_S)
            assert child.returncode == 0, err
            printed.append(out)
        return printed
    finally:
        for child in children:
            child.kill()
            child.communicate()
