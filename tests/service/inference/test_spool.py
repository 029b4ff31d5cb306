"""The spool, and the thread that drains it."""

from __future__ import annotations

import errno
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from core import predictions
from core.errors import StoreError
from core.ids import new_id
from core.predictions import Prediction
from core.store.blobs import LocalBlobs, sha256
from core.store.store import Store
from service.inference.recorder import Recorder
from service.inference.spool import Damaged, Spool
from service.inference.spool_drain import SpoolDrain
from tests.support.wait import wait_until

IMAGE = bytes(range(256)) * 4


def prediction(image: bytes = IMAGE) -> Prediction:
    return Prediction(new_id(), sha256(image), 1, "katze \n 猫", 0.9, 0.8, time.time())


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", max_bytes=100_000, max_age_s=60)


def drain_of(store: Store, spool: Spool) -> SpoolDrain:
    return SpoolDrain(store, spool, Recorder(store, spool), every_s=0.02)


def get(store: Store, prediction_id: str) -> Prediction | None:
    with store.db.read() as conn:
        return predictions.get(conn, prediction_id)


def test_prediction_comes_back_as_it_was_put(spool: Spool) -> None:
    row = prediction()
    assert spool.put(row, IMAGE)
    assert spool.holds(row.id)
    (path,) = spool.oldest_first()
    assert spool.read(path) == (row, IMAGE)


def test_embedding_comes_back_and_a_file_without_one_is_read(spool: Spool) -> None:
    row = replace(prediction(), embedding=bytes(range(256)))
    spool.put(row, IMAGE)
    (path,) = spool.oldest_first()
    assert spool.read(path) == (row, IMAGE)
    line, _, image = path.read_bytes().partition(b"\n")
    older = json.loads(line)
    del older["embedding"]
    path.write_bytes(json.dumps(older).encode() + b"\n" + image)
    assert spool.read(path) == (replace(row, embedding=None), IMAGE)


def test_prediction_without_its_image_comes_back_as_a_row(store: Store, spool: Spool) -> None:
    row = replace(prediction(), kept_bytes=None, capture="none")
    assert spool.put(row, b"")
    assert drain_of(store, spool).drain()
    assert get(store, row.id) == row
    assert not store.blobs.has(row.image)


def test_spool_is_bounded(spool: Spool) -> None:
    num_kept = sum(spool.put(prediction(bytes(9_000)), bytes(9_000)) for _ in range(20))
    depth = spool.depth()
    assert depth.num_predictions == num_kept == 10
    assert depth.num_bytes <= 100_000


def test_folder_that_cannot_be_written_has_no_room(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not Spool(tmp_path / "file", 1_000_000, 60).put(prediction(), IMAGE)


@pytest.mark.parametrize("name", ["../evergreen.db", "drain.lock", "", "x" * 36])
def test_name_that_is_no_id_is_never_held(spool: Spool, name: str) -> None:
    spool.put(prediction(), IMAGE)
    assert not spool.holds(name)


def test_damaged_file_is_told_apart(spool: Spool) -> None:
    spool.put(prediction(), IMAGE)
    (path,) = spool.oldest_first()
    whole = path.read_bytes()
    for damaged in (b"", b"{}", whole[:-1], b"[1]\n", whole.replace(b"0.9", b"0.9, 1")):
        path.write_bytes(damaged)
        with pytest.raises(Damaged):
            spool.read(path)


def test_drain_stores_rows_and_images_in_order(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [prediction(f"image {i}".encode()) for i in range(100)]
    for i, row in enumerate(rows):
        spool.put(row, f"image {i}".encode())
    seen: list[str] = []
    add_missing = predictions.add_missing

    def noting(db, group) -> None:
        seen.extend(row.id for row in group)
        add_missing(db, group)

    monkeypatch.setattr(predictions, "add_missing", noting)
    assert drain_of(store, spool).drain()
    assert seen == [row.id for row in rows]
    assert all(get(store, row.id) == row for row in rows)
    assert all(store.blobs.get(row.image) == f"image {i}".encode() for i, row in enumerate(rows))
    assert spool.depth() == (0, 0)


def test_drained_spool_has_room_again(sqlite_store: Store, spool: Spool) -> None:
    while spool.put(prediction(bytes(9_000)), bytes(9_000)):
        pass
    assert drain_of(sqlite_store, spool).drain()
    assert spool.put(prediction(), IMAGE)


def test_drain_after_a_kill_doubles_nothing(store: Store, spool: Spool) -> None:
    first, second = prediction(), prediction()
    for row in (first, second):
        spool.put(row, IMAGE)
    predictions.add(store.db, [first])  # stored, and killed before the file was removed
    assert drain_of(store, spool).drain()
    assert get(store, first.id) == first
    assert get(store, second.id) == second


def test_drain_drops_what_is_too_old_or_damaged(sqlite_store: Store, spool: Spool) -> None:
    old, damaged, good = prediction(), prediction(), prediction()
    for row in (old, damaged, good):
        spool.put(row, IMAGE)
    paths = dict(zip((old.id, damaged.id, good.id), spool.oldest_first(), strict=True))
    os.utime(paths[old.id], (time.time() - 61,) * 2)
    paths[damaged.id].write_bytes(b"damaged")
    assert drain_of(sqlite_store, spool).drain()
    assert [get(sqlite_store, row.id) for row in (old, damaged, good)] == [None, None, good]


def test_drain_keeps_what_the_store_does_not_take(
    sqlite_store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> str:
        raise StoreError("refused")

    spool.put(prediction(), IMAGE)
    monkeypatch.setattr(LocalBlobs, "put", refused)
    with pytest.raises(StoreError):
        drain_of(sqlite_store, spool).drain()
    assert spool.depth().num_predictions == 1


def test_drain_keeps_what_cannot_be_read_now(
    sqlite_store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = prediction()
    spool.put(row, IMAGE)

    def too_many_open_files(path: Path) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", too_many_open_files)
        drain_of(sqlite_store, spool).drain()
    assert spool.holds(row.id)
    drain_of(sqlite_store, spool).drain()
    assert get(sqlite_store, row.id) == row


def test_predictions_that_come_during_a_drain_do_not_make_the_store_unwell(
    sqlite_store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.put(prediction(), IMAGE)
    add_missing = predictions.add_missing

    def busy(db, group) -> None:
        spool.put(prediction(), IMAGE)
        add_missing(db, group)

    monkeypatch.setattr(predictions, "add_missing", busy)
    assert drain_of(sqlite_store, spool).drain()
    assert spool.depth().num_predictions == 1


def test_row_that_is_refused_for_good_holds_up_no_other(
    sqlite_store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [prediction() for _ in range(3)]
    for row in rows:
        spool.put(row, IMAGE)
    add_missing = predictions.add_missing

    def refusing(db, group) -> None:
        if rows[1] in group:
            raise ValueError("no such row")
        add_missing(db, group)

    monkeypatch.setattr(predictions, "add_missing", refusing)
    assert drain_of(sqlite_store, spool).drain()
    assert [get(sqlite_store, row.id) for row in rows] == [rows[0], None, rows[2]]


def test_one_process_of_a_machine_drains(sqlite_store: Store, spool: Spool) -> None:
    row = prediction()
    spool.put(row, IMAGE)
    with spool.only_drainer() as is_only:
        assert is_only
        other = Spool(spool._folder, 100_000, 60)
        assert not drain_of(sqlite_store, other).drain()
    assert drain_of(sqlite_store, spool).drain()


def test_thread_drains_and_says_that_the_store_is_well(sqlite_store: Store, spool: Spool) -> None:
    recorder = Recorder(sqlite_store, spool)
    recorder.note_unwell(StoreError("gone"))
    row = prediction()
    recorder.record(row, IMAGE)
    assert spool.holds(row.id)
    drain = SpoolDrain(sqlite_store, spool, recorder, every_s=0.02)
    drain.start()
    try:
        wait_until(lambda: recorder.unwell_since is None)
    finally:
        drain.stop()
    assert get(sqlite_store, row.id) == row
