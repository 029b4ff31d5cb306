"""Many rows in parts, on several cores.

The parts are of one size whatever the machine, and what they come to is joined in their order, so
that a run can be repeated to the bit on more cores or fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from core.settings import available_cores

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
    with ThreadPoolExecutor(cores, thread_name_prefix="parts") as pool:
        return list(pool.map(work, parts))
