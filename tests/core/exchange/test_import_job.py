"""What becomes of the files of an import, and of an import whose process ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from core import audit
from core.errors import ImportFinished, UnknownImport
from core.exchange.importing import claims, job_run, jobs
from core.exchange.importing.jobs import Import
from core.exchange.importing.labeller import Labeller
from core.labelling import batches
from core.labelling.label_request import LabelRequest
from core.store.store import Store
from core.store.tables.review import imports
from tests.core.exchange.archives import Entry, packed, photo, photos
from tests.core.exchange.import_jobs import ANN, Worker, counts, read
from tests.core.labelled_store import count, current, label
from tests.support import images

FOUR = photos("cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png")


@pytest.fixture
def worker(store: Store, tmp_path: Path) -> Worker:
    return Worker(store, tmp_path / "machine")


def problems(job: Import) -> dict[str, str]:
    return dict(job.report["problems"])


def test_every_file_is_in_one_count(worker: Worker) -> None:
    label(worker.store, LabelRequest("cat", "bob"), photo(0))  # already
    label(worker.store, LabelRequest("cat", "bob"), photo(2))  # relabelled
    entries: dict[str, Entry] = {
        **FOUR,
        "cat/again.png": photo(1),
        "dog/conflict.png": photo(1),
        "cat/broken.png": images.truncated(photo(9)),
        "cat/empty.png": b"",
        "cat/huge.png": images.twenty_thousand_square(),
        "dog/notes.txt": "nothing",
    }
    done = worker.imported(entries)
    assert done.state == "finished"
    assert counts(done) == {
        "added": 2,
        "already": 1,
        "relabelled": 1,
        "duplicates": 1,
        "conflicts": 1,
        "unreadable": 3,
        "ignored": 1,
    }
    assert (done.position, done.total) == (10, 10)
    assert problems(done) == {
        "cat/again.png": "the same image as cat/2.png",
        "cat/broken.png": "not a readable image",
        "cat/empty.png": "empty",
        "cat/huge.png": "too large",
        "dog/conflict.png": "also in another class: cat/2.png",
        "dog/notes.txt": "a text or a document",
    }
    assert [name for _, name in current(worker.store)].count("dog") == 2


def test_second_import_changes_nothing_and_corrections_stay(worker: Worker) -> None:
    worker.imported(FOUR)
    label(worker.store, LabelRequest("cow", "bob"), photo(0))
    done = worker.imported(FOUR)
    assert counts(done) == {"already": 3, "kept corrections": 1}
    assert done.batch_id is None
    moved = {"dog/1.png": FOUR["cat/1.png"]}
    assert counts(worker.imported(moved)) == {"relabelled": 1}


def test_labels_are_one_batch_of_the_author_that_can_be_undone(worker: Worker) -> None:
    done = worker.imported(FOUR)
    assert done.batch_id is not None
    with worker.store.db.read() as conn:
        batch = batches.get(conn, done.batch_id)
        events = audit.listing(conn, limit=10, action="labels.imported")
    assert (batch.kind, batch.who) == ("import", "ann")
    assert [event.who for event in events] == ["ann"]
    undone = batches.undo(worker.store, done.batch_id, who="ann", now=2.0)
    assert undone.retracted == 4
    assert current(worker.store) == []


def test_sides_are_wishes_that_near_duplicates_do_not_get(worker: Worker) -> None:
    scene = images.scene(120, 90, seed=1)
    done = worker.imported(
        {
            "test/cat/1.png": images.encode(scene, "PNG"),
            "train/cat/2.jpg": images.encode(scene, "JPEG", quality=90),
            "train/dog/3.png": photo(3),
        }
    )
    assert counts(done) == {"added": 2, "conflicts": 1}
    assert "almost the same image" in problems(done)["train/cat/2.jpg"]
    with worker.store.db.read() as conn:
        rows = conn.exec_driver_sql("SELECT is_held_out FROM examples ORDER BY id").scalars()
        assert list(map(bool, rows)) == [True, True, False]


def test_archive_is_deleted_at_the_end_whatever_it_is(worker: Worker) -> None:
    well, *others = packed(FOUR), b"PK\x05\x06" + bytes(30), packed({"x.txt": "nothing"})
    for content in (well, *others):
        job = worker.upload(content)
        worker.work()
        assert not worker.files.has(job.id)
        done = read(worker.store, job)
        assert done.state == ("finished" if content is well else "failed")
        assert (done.error is None) == (content is well)


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


def test_full_disk_ends_the_import_and_keeps_what_is_done(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.store.disk, "_folder", Path("/"))
    monkeypatch.setattr(worker.store.disk, "min_bytes", 10**18)
    done = worker.imported(FOUR)
    assert done.state == "failed"
    assert "EVERGREEN_MIN_FREE_DISK_MB" in str(done.error)


def test_old_archives_without_an_import_are_deleted(worker: Worker) -> None:
    import os

    kept = worker.upload(FOUR)
    for name in ("left", "new"):
        worker.files.path(name).write_bytes(b"")
    for name in (kept.id, "left"):
        os.utime(worker.files.path(name), (0, 0))
    assert worker.files.sweep([kept.id]) == 1
    assert not worker.files.has("left")
    assert worker.files.has("new")


def test_list_is_newest_first_and_goes_on(worker: Worker) -> None:
    made = [worker.upload(FOUR).id for _ in range(5)]
    with worker.store.db.read() as conn:
        first = [each.id for each in jobs.listing(conn, 3)]
        rest = [each.id for each in jobs.listing(conn, 3, before=first[-1])]
    assert first + rest == made[::-1]
