"""Processes that are killed while they import, and the next that goes on."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from core.exchange.importing import jobs
from core.settings import Settings
from core.store.store import open_store
from tests.core.exchange.archives import packed, photo
from tests.core.exchange.import_jobs import Worker, counts, read
from tests.core.labelled_store import count, current

pytestmark = pytest.mark.slow  # not in `make check`

NUM_PHOTOS = 300
PROGRAM = """
import sys, time
from pathlib import Path
from core.exchange.importing import job_run, jobs
from core.settings import Settings
from core.store.store import open_store
from tests.core.exchange.import_jobs import Worker

jobs.LEASE_S, job_run.CHUNK = 0.5, 4
home = Path(sys.argv[1])
worker = Worker(open_store(Settings(home=home)), home)
done = None
while done is None:
    done = worker.work()
    time.sleep(0.05)
"""


def test_killed_processes_lose_nothing_and_label_nothing_twice(settings: Settings) -> None:
    store = open_store(settings)
    worker = Worker(store, settings.home)
    job = worker.upload(
        packed({f"{'cat' if n % 2 else 'dog'}/{n}.png": photo(n) for n in range(NUM_PHOTOS)})
    )
    num_killed = 0
    while True:
        started_at = read(store, job).position
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(settings.home)])
        while process.poll() is None and read(store, job).position < started_at + 80:
            time.sleep(0.005)
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        num_killed += 1
    done = read(store, job)
    assert process.returncode == 0
    assert num_killed >= 2
    assert (done.state, done.position) == ("finished", NUM_PHOTOS)
    # Of the few hundred small photos, some look alike; none is missing or there twice.
    assert sum(counts(done).values()) == NUM_PHOTOS == count(store)
    assert len({image for image, _ in current(store)}) == NUM_PHOTOS
    assert done.batch_id is not None
    assert count(store, "label_batches") == 1
    with store.db.read() as conn:
        assert jobs.unfinished(conn) == []
    store.db.close()
