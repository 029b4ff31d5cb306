"""What becomes of the files of an import, and of an import whose process ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from core import audit
from core.exchange.importing import jobs
from core.exchange.importing.jobs import Import
from core.exchange.importing.labeller import Labeller
from core.labelling import batches
from core.labelling.label_request import LabelRequest
from core.store.store import Store
from tests.core.exchange.archives import Entry, packed, photo, photos
from tests.core.exchange.import_jobs import Worker, counts, read
from tests.core.labelled_store import current, label
from tests.support import images

pytestmark = pytest.mark.slow  # not in make check

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


def test_label_that_a_person_gives_meanwhile_stays(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the decision what to label and the transaction that does."""
    worker.imported(FOUR)
    settle = Labeller.settle

    def settle_and_correct(self: Labeller, loaded: Any) -> Any:
        found = settle(self, loaded)
        label(worker.store, LabelRequest("cow", "bob"), photo(0))
        label(worker.store, LabelRequest("dog", "bob"), photo(1))
        return found

    moved = {"dog/1.png": FOUR["cat/1.png"], "dog/2.png": FOUR["cat/2.png"]}
    monkeypatch.setattr(Labeller, "settle", settle_and_correct)
    assert counts(worker.imported(moved)) == {"already": 1, "relabelled": 1}


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


def test_undone_import_can_be_repeated_and_corrections_stay(worker: Worker) -> None:
    first = worker.imported(FOUR)
    assert first.batch_id is not None
    label(worker.store, LabelRequest("cow", "bob"), photo(0))
    batches.undo(worker.store, first.batch_id, who="ann", now=2.0)
    assert counts(worker.imported(FOUR)) == {"added": 3, "kept corrections": 1}
    other = worker.imported({"dog/2.png": FOUR["cat/2.png"]})
    assert other.batch_id is not None
    batches.undo(worker.store, other.batch_id, who="ann", now=3.0)
    assert counts(worker.imported(FOUR)) == {"already": 3, "kept corrections": 1}


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


def test_old_archives_without_an_import_are_deleted(worker: Worker) -> None:
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


def test_full_disk_ends_the_import_and_keeps_what_is_done(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.store.disk, "_folder", Path("/"))
    monkeypatch.setattr(worker.store.disk, "min_bytes", 10**18)
    done = worker.imported(FOUR)
    assert done.state == "failed"
    assert "EVERGREEN_MIN_FREE_DISK_MB" in str(done.error)
