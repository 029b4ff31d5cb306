"""Who works on an import: one process of its machine, and another where that one ends."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from core.errors import ImportFinished, UnknownImport
from core.exchange.importing import claims, job_run, jobs
from core.exchange.importing.labeller import Labeller
from core.store.store import Store
from core.store.tables.review import imports
from tests.core.exchange.archives import photo, photos
from tests.core.exchange.import_jobs import ANN, Worker, counts, read
from tests.core.labelled_store import count

pytestmark = pytest.mark.slow  # not in make check

FOUR = photos("cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png")


@pytest.fixture
def worker(store: Store, tmp_path: Path) -> Worker:
    return Worker(store, tmp_path / "machine")


def die_in_transaction(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Labelling ends like a killed process in its transaction of this number."""
    original = Labeller.label
    calls: list[Any] = []

    def dying(*arguments: Any) -> None:
        original(*arguments)
        calls.append(arguments)
        if len(calls) == number:
            raise SystemExit

    monkeypatch.setattr(Labeller, "label", dying)
    monkeypatch.setattr(job_run, "CHUNK", 2)


def let_lease_expire(store: Store, seconds: float = 60.0) -> None:
    with store.db.write() as conn:
        conn.execute(update(imports).values(heartbeat_at=imports.c.heartbeat_at - seconds))


@pytest.mark.parametrize("number", [2, 3, 4])
def test_another_process_goes_on_where_one_was_killed(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    names = [f"{'cat' if n % 2 else 'dog'}/{n}.png" for n in range(6)]
    entries = {**photos(*names), "dog/x-again.png": photo(1), "dog/y-again.png": photo(0)}
    with monkeypatch.context() as patch:
        die_in_transaction(patch, number)
        job = worker.upload(entries)
        with pytest.raises(SystemExit):
            worker.work()
    other = Worker(worker.store, worker.settings.home)
    assert other.work() is None  # the lease still holds
    let_lease_expire(worker.store)
    done = other.work()
    assert done is not None
    assert (done.id, done.state, done.position) == (job.id, "finished", 8)
    assert counts(done) == {"added": 6, "duplicates": 1, "conflicts": 1}
    assert count(worker.store) == 6
    assert count(worker.store, "label_batches") == 1


def test_archive_that_kills_its_process_again_and_again_fails(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "MAX_ATTEMPTS", 2)
    job = worker.upload(FOUR)
    for _ in range(2):
        die_in_transaction(monkeypatch, 2)
        other = Worker(worker.store, worker.settings.home)
        with pytest.raises(SystemExit):
            other.work()
        let_lease_expire(worker.store)
        monkeypatch.undo()
        monkeypatch.setattr(claims, "MAX_ATTEMPTS", 2)
    assert worker.work() is None
    done = read(worker.store, job)
    assert done.state == "failed"
    assert "stopped 2 times after 0 files" in str(done.error)


def test_process_that_stops_hands_its_import_on(worker: Worker) -> None:
    job = worker.upload(FOUR)
    handed = worker.work(should_stop=lambda: True)
    assert handed is not None
    assert (handed.state, handed.owner) == ("waiting", None)
    done = Worker(worker.store, worker.settings.home).work()
    assert done is not None
    assert (done.id, done.state) == (job.id, "finished")


def test_process_that_stops_leaves_a_chunk_of_large_images(worker: Worker) -> None:
    job = worker.upload(FOUR)
    asked: list[bool] = []

    def should_stop() -> bool:
        """From the second image of the only chunk on."""
        asked.append(True)
        return threading.current_thread().name.startswith("ThreadPool") and len(asked) > 5

    handed = worker.work(should_stop)
    assert handed is not None
    assert (handed.state, handed.position) == ("waiting", 0)
    done = worker.work()
    assert done is not None
    assert (done.id, counts(done)) == (job.id, {"added": 4})


def test_one_import_at_a_time_on_a_machine_oldest_first(worker: Worker, tmp_path: Path) -> None:
    first, second = worker.upload(FOUR), worker.upload(photos("cat/9.png"))
    now = worker.store.db.clock()
    claimed = worker.claims.next(now)
    assert claimed is not None
    assert claimed.id == first.id
    assert Worker(worker.store, worker.settings.home).claims.next(now) is None
    elsewhere = Worker(worker.store, tmp_path / "other", host="there")
    assert elsewhere.claims.next(now) is None  # it has no archive of its own
    third = elsewhere.upload(photos("cat/8.png"))
    assert getattr(elsewhere.claims.next(now), "id", None) == third.id
    assert read(worker.store, second).state == "waiting"


def test_running_import_is_cancelled_at_its_next_transaction(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_run, "CHUNK", 2)
    job = worker.upload(FOUR)
    original = job_run.JobRun._save

    def save_and_cancel(self: job_run.JobRun, *arguments: Any) -> None:
        original(self, *arguments)
        if arguments[2] == 2:
            with worker.store.db.write() as conn:
                jobs.cancel(conn, job.id, ANN, 2.0)

    monkeypatch.setattr(job_run.JobRun, "_save", save_and_cancel)
    done = worker.work()
    assert done is not None
    assert (done.state, counts(done)) == ("cancelled", {"added": 2})
    assert not worker.files.has(job.id)
    assert count(worker.store) == 2


def test_waiting_import_is_cancelled_at_once_and_an_ended_one_never(worker: Worker) -> None:
    job = worker.upload(FOUR)
    with worker.store.db.write() as conn:
        assert jobs.cancel(conn, job.id, ANN, 2.0).state == "cancelled"
    assert worker.work() is None
    for wanted, error in ((job.id, ImportFinished), ("nothing", UnknownImport)):
        with worker.store.db.read() as conn, pytest.raises(error):
            jobs.cancel(conn, wanted, ANN, 2.0)


def test_import_of_a_machine_that_is_gone_fails_with_words(worker: Worker, tmp_path: Path) -> None:
    job = worker.upload(FOUR)
    elsewhere = Worker(worker.store, tmp_path / "other", host="there")
    let_lease_expire(worker.store, claims.GONE_AFTER_S / 2)
    assert worker.claims.next(worker.store.db.clock()) is not None  # it is heard of again
    let_lease_expire(worker.store, claims.GONE_AFTER_S + 1)
    assert elsewhere.work() is None
    done = read(worker.store, job)
    assert done.state == "failed"
    assert "here, was not heard of for 10 minutes; send it again" in str(done.error)


def test_import_whose_archive_is_gone_fails_with_words(worker: Worker) -> None:
    job = worker.upload(FOUR)
    worker.files.delete(job.id)
    assert worker.work() is None
    assert "gone from the disk" in str(read(worker.store, job).error)


def test_container_with_another_name_goes_on_with_its_archives(worker: Worker) -> None:
    worker.upload(FOUR)
    renamed = Worker(worker.store, worker.settings.home, host="there")
    done = renamed.work()
    assert done is not None
    assert done.state == "finished"
