"""Reads and locks in an old installation: python -m bench.growth [--sizes 1000 1000000]

A size is a number of predictions; a tenth of it are examples and runs, a thousandth versions. Each
operation is timed in one serving process, and its statements are counted. The last ones change all
labels, and are done once. With --database-url it is measured on an empty PostgreSQL database, at
one size.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from bench.tables import show
from core.labelling import class_changes
from core.labelling.bulk.targets import BulkLabel, find_targets
from core.labelling.bulk.write import store_labels
from core.labelling.label_request import LabelRequest
from core.settings import Settings
from core.store.store import Store, open_store
from tests.support import large_home
from tests.support.large_home import NUM_CLASSES, Size
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
    found |= {name: _once(change) for name, change in _changes(store, size).items()}
    store.db.close()
    return found


def _changes(store: Store, size: Size) -> dict[str, Callable[[], object]]:
    """In this order: a class of all examples is made, renamed and deleted."""
    names = [f"class {k}" for k in range(NUM_CLASSES)]
    wanted = [BulkLabel(names[i % NUM_CLASSES], i + 1) for i in range(min(500, size.examples))]

    def label() -> None:
        request = LabelRequest("any", "bob")
        store_labels(store, find_targets(store, wanted), {}, request, time.time())

    def now() -> dict[str, Any]:
        return {"who": "ann", "now": time.time()}

    return {
        "labels of 500 examples by id": label,
        "merge of ten classes": lambda: class_changes.merge(store, names, "all", **now()),
        "rename of a class of all": lambda: class_changes.rename(store, "all", "each", **now()),
        "delete of a class of all": lambda: class_changes.delete(store, "each", **now()),
    }


def _once(operation: Callable[[], object]) -> tuple[float, int]:
    """Return milliseconds, and the number of statements."""
    with _counting() as statements:
        began = time.perf_counter()
        operation()
        return 1000 * (time.perf_counter() - began), len(statements)


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
