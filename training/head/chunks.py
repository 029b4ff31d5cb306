"""Many rows in parts, on several cores.

The parts are of one size whatever the machine, and what they come to is joined in their order, so
that a run can be repeated to the bit on more cores or fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from core.system.host import available_cores

_ROWS = 2_048
# More would wait for memory rather than for each other.
_MAX_CORES = 4

Result = TypeVar("Result")


def in_parts(num_rows: int, work: Callable[[slice], Result]) -> list[Result]:
    """The results of `work` for each part of the rows, in order. It is to spend its time in what
    releases the interpreter's lock, as numpy's products do; threads have the caller's priority."""
    parts = [slice(start, start + _ROWS) for start in range(0, num_rows, _ROWS)]
    cores = min(_MAX_CORES, available_cores(), len(parts))
    if cores <= 1:
        return list(map(work, parts))
    results: dict[int, Result] = {}
    # Taking the next is one step of the interpreter: no part is taken twice.
    left = iter(enumerate(parts))

    def take_parts() -> None:
        for i, rows in left:
            results[i] = work(rows)

    # The caller is one of them: handing all to others was 7 % slower, 20 % beside another run.
    with ThreadPoolExecutor(cores - 1, thread_name_prefix="parts") as pool:
        others = [pool.submit(take_parts) for _ in range(cores - 1)]
        take_parts()
        for other in others:
            other.result()
    return [results[i] for i in range(len(parts))]
