"""Scenarios: where the home is, and which fault comes again and again."""

from __future__ import annotations

import contextlib
import logging
import os
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from bench.durability import faults
from bench.durability.faults import Fault
from tests.support import postgres
from tests.support.server import Server
from tests.support.small_disk import small_disk


@dataclass(frozen=True, slots=True)
class Place:
    home: Path
    fault: Fault
    # Variables of the server's environment.
    settings: dict[str, str] = field(default_factory=dict)


Scenario = Callable[[Path], AbstractContextManager[Place]]


def _plain(fault: Fault) -> Scenario:
    @contextlib.contextmanager
    def place(folder: Path) -> Iterator[Place]:
        yield Place(folder / "home", fault)

    return place


@contextlib.contextmanager
def _full_disk(folder: Path) -> Iterator[Place]:
    with small_disk(folder / "disk", 256) as disk:
        yield Place(disk / "home", faults.fill_disk, {"EVERGREEN_MIN_FREE_DISK_MB": "16"})


def _postgres(how: str) -> Scenario:
    """`how` is `refusing` or `frozen`."""

    @contextlib.contextmanager
    def place(folder: Path) -> Iterator[Place]:
        with postgres.server(None) as server, server.database() as url:
            fault = faults.during(lambda: getattr(server, how)(url))
            yield Place(folder / "home", fault, {"EVERGREEN_DATABASE_URL": url})

    return place


@contextlib.contextmanager
def _object_store(folder: Path) -> Iterator[Place]:
    from tests.support import s3  # which needs moto

    def fault(server: Server, chance: random.Random) -> None:
        faults.during(lambda: store.failing(chance.choice(s3.FAULTS)))(server, chance)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    with s3.server() as store, mock.patch.dict(os.environ, store.environ):
        settings = {"EVERGREEN_BLOB_URL": f"s3://{s3.BUCKET}/blobs", **store.environ}
        yield Place(folder / "home", fault, settings)


SCENARIOS: dict[str, Scenario] = {
    "worker killed": _plain(faults.kill_worker),
    "trainer killed": _plain(faults.kill_trainer),
    "master killed": _plain(faults.kill_master),
    "all killed": _plain(faults.kill_everything),
    "disk full": _full_disk,
    "SQLite locked": _plain(faults.lock_sqlite),
    "PostgreSQL stopped": _postgres("refusing"),
    "PostgreSQL frozen": _postgres("frozen"),
    "S3 failing": _object_store,
}
# The answer to a prediction says that it was not kept by refusing its label later.
MAY_NOT_KEEP_PREDICTIONS = {"disk full"}
