"""Reads and locks in an old installation: python -m bench.growth [--sizes 1000 1000000]

A size is a number of predictions; a tenth of it are examples and runs, a thousandth versions. Each
operation is timed in one serving process, and its statements are counted. With --database-url it is
measured on an empty PostgreSQL database, at one size.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, event

from bench.tables import show
from core.settings import Settings
from core.store.store import open_store
from tests.support import large_home
from tests.support.large_home import Size
from tests.support.large_home_reads import operations

_REPEATS = 7
_MAX_S = 4.0

Measured = dict[str, tuple[float, int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--database-url", default="")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    columns: dict[int, Measured] = {}
    for number in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(
                home=Path(folder), device="cpu", workers=1, database_url=options.database_url
            )
            columns[number] = measure_home(settings, Size.of(number))
    _show(columns, markdown=options.markdown)


def measure_home(settings: Settings, size: Size) -> Measured:
    store = open_store(settings)
    large_home.fill(store, size)
    found = {
        name: _measure(operation) for name, operation in operations(settings, store, size).items()
    }
    store.db.close()
    return found


def _measure(operation: Callable[[], object]) -> tuple[float, int]:
    """Return the median of milliseconds, and the number of statements."""
    operation()
    with _counting() as statements:
        operation()
    times: list[float] = []
    while len(times) < _REPEATS and sum(times) < _MAX_S:
        began = time.perf_counter()
        operation()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times), len(statements)


@contextmanager
def _counting() -> Iterator[list[str]]:
    seen: list[str] = []

    def see(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", see)
    yield seen
    event.remove(Engine, "before_cursor_execute", see)


def _show(columns: dict[int, Measured], *, markdown: bool) -> None:
    sizes = list(columns)
    first, last = columns[sizes[0]], columns[sizes[-1]]
    rows = [
        [
            name,
            str(last[name][1]),
            *(f"{columns[size][name][0]:.2f}" for size in sizes),
            f"{last[name][0] / first[name][0]:.1f}",
        ]
        for name in first
    ]
    names = ["operation", "statements", *(f"{size:,}, ms" for size in sizes), "ratio"]
    show("By number of predictions", names, rows, markdown=markdown)


if __name__ == "__main__":
    main()
