"""Erasing: what goes, what stays, what is answered, and what a repeat does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from core import erased, predictions, runs
from core.erasure import erase
from core.errors import InvalidRequest, UnknownExample, UnknownPrediction
from core.inputs.pixels.fingerprint import fingerprint
from core.labelling import examples, intake, labels
from core.labelling.label_request import LabelRequest
from core.review import analyses, lineage
from core.review.analyses import AnalysisRow
from core.settings import Settings
from core.store import schema
from core.store.blobs import sha256
from core.store.store import Store
from core.store.tables.tallies import class_sizes
from tests.core import labelled_store
from tests.core.erasure.erasing import VECTOR_BYTES, embed, eraser, files_with
from tests.core.labelled_store import DIRECTION, IMAGE, LIMITS, OTHER, count, label, predict
from tests.core.review.test_analysis import make_analysis
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`


def class_counts(store: Store) -> dict[str, int]:
    with store.db.read() as conn:
        rows = conn.execute(select(class_sizes.c.label, class_sizes.c.examples)).all()
    return {row.label: row.examples for row in rows if row.examples}


def events(store: Store, example_id: int) -> list[labels.LabelEvent]:
    with store.db.read() as conn:
        return labels.events_of(conn, example_id, 100)


def label_both(store: Store) -> int:
    """Label two images, and predict the first one. Returns the id of its example."""
    predict(store)
    request = LabelRequest("cat", who="ann", idempotency_key="once")
    example_id = label(store, request).event.example_id
    label(store, LabelRequest("dog"), OTHER)
    embed(store, example_id)
    return example_id


def test_example_is_blanked_and_its_rows_keep_their_ids(store: Store) -> None:
    example_id = label_both(store)
    erasure = eraser(store).erase_example(example_id, "bob")
    assert erasure.finished_at is not None
    assert not store.blobs.has(sha256(IMAGE))
    assert labelled_store.current(store) == [(sha256(OTHER), "dog")]
    assert class_counts(store) == {"dog": 1}
    assert count(store, "embeddings") == count(store, "predictions") == 0
    given, retraction = events(store, example_id)
    assert (given.id, given.label, given.who, given.prediction_id) == (1, None, "", None)
    assert (retraction.retracts, retraction.who) == (1, "bob")
    with store.db.read() as conn:
        assert conn.execute(select(schema.labels.c.idempotency_key)).scalars().all() == [None] * 3
        row = conn.execute(select(schema.examples).where(schema.examples.c.id == 1)).one()
        with pytest.raises(UnknownExample, match="was erased"):
            lineage.example(conn, example_id)
        assert examples.captured_digests(conn) == [sha256(OTHER)]
    assert (row.image, row.group_id, row.thumb, row.width) == ("erased-1", "erased-1", b"", 0)


def test_receipt_has_the_digests_and_is_answered_again(store: Store) -> None:
    example_id = label_both(store)
    erasure = eraser(store).erase_example(example_id, "bob")
    receipt = erasure.receipt
    assert (erasure.image, erasure.example_id) == (sha256(IMAGE), example_id)
    assert receipt["thumb"] == sha256(fingerprint(IMAGE, LIMITS).thumb)
    assert receipt["embeddings"] == {"b" * 64: sha256(VECTOR_BYTES)}
    assert (receipt["labels"], receipt["idempotency_keys"], receipt["predictions"]) == ([1], 1, 1)
    assert "backups from before" in receipt["remains"][0]
    is_postgres = not store.db.is_sqlite
    assert any("VACUUM" in text for text in receipt["remains"]) == is_postgres
    assert eraser(store).erase_example(example_id, "eve") == erasure


def test_prediction_goes_with_all_of_its_image(store: Store) -> None:
    named, same, other = predict(store), predict(store), predict(store, OTHER)
    erasure = eraser(store).erase_prediction(named, "bob")
    assert (erasure.example_id, erasure.receipt["predictions"]) == (None, 2)
    assert not store.blobs.has(sha256(IMAGE))
    assert eraser(store).erase_prediction(named, "bob") == erasure
    with pytest.raises(UnknownPrediction, match="with another prediction of the same input"):
        eraser(store).erase_prediction(same, "bob")
    with store.db.read() as conn:
        assert predictions.get(conn, other) is not None


def test_prediction_of_a_labelled_image_erases_the_example(sqlite_store: Store) -> None:
    prediction_id = predict(sqlite_store)
    intake.label_prediction(sqlite_store, prediction_id, LabelRequest("cat"), LIMITS, 1.0)
    erasure = eraser(sqlite_store).erase_prediction(prediction_id, "bob")
    assert erasure.example_id == 1
    assert erasure.receipt["labels"] == [1]
    assert labelled_store.current(sqlite_store) == []


@pytest.mark.parametrize("example_id", [0, 3, -1, 2**63])
def test_unknown_example_is_refused(sqlite_store: Store, example_id: int) -> None:
    label_both(sqlite_store)
    with pytest.raises(UnknownExample, match="does not exist"):
        eraser(sqlite_store).erase_example(example_id, "bob")
    with pytest.raises(UnknownPrediction):
        eraser(sqlite_store).erase_prediction("x" * 36, "bob")
    with pytest.raises(InvalidRequest):
        eraser(sqlite_store).erase_example(1, "x" * 101)


def test_no_file_has_a_byte_of_it(sqlite_store: Store, settings: Settings) -> None:
    example_id = label_both(sqlite_store)
    for seed in range(10, 60):  # so that pages are split
        other = images.png(16, 16, seed)
        embed(sqlite_store, label(sqlite_store, LabelRequest("dog"), other).event.example_id)
    with sqlite_store.db.write() as conn:  # only this one has the vector
        others = schema.embeddings.c.example_id != example_id
        conn.execute(update(schema.embeddings).where(others).values(vector=b"x" * 192))
    content, mark = make_analysis().to_bytes(), "mark-of-a-summary"
    row = AnalysisRow(2, sqlite_store.blobs.put(content), len(content), 60, {"mark": mark}, 1.0)
    with sqlite_store.db.write() as conn:
        analyses.add(conn, row)
    traces = [IMAGE[20:], fingerprint(IMAGE, LIMITS).thumb, VECTOR_BYTES, DIRECTION]
    traces += [content, mark.encode()]
    assert all(files_with(settings.home, trace) for trace in traces)
    eraser(sqlite_store).erase_example(example_id, "bob")
    assert [files_with(settings.home, trace) for trace in traces] == [[]] * len(traces)


def test_reader_of_the_log_leaves_the_erasure_to_be_finished(
    sqlite_store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    example_id = label_both(sqlite_store)
    monkeypatch.setattr(erase, "_WAL_PATIENCE_S", 0.0)
    with sqlite_store.db.read() as conn:
        labels.newest_id(conn)
        erasure = eraser(sqlite_store).erase_example(example_id, "bob")
    assert erasure.finished_at is None
    assert any("SQLite's log" in text for text in erasure.receipt["remains"])
    finished = eraser(sqlite_store).erase_example(example_id, "bob")
    assert finished.finished_at is not None
    assert files_with(settings.home, VECTOR_BYTES) == []


@pytest.mark.parametrize(
    "step", ["delete_image", "delete_analyses", "unspool", "rmtree", "empty_wal", "record"]
)
def test_crash_at_any_step_is_finished_by_a_repeat(
    sqlite_store: Store, settings: Settings, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    example_id = label_both(sqlite_store)
    with sqlite_store.db.write() as conn:
        run, _ = runs.request(conn, trigger="request", now=1.0, tier="blocks")
        runs.set_snapshot(conn, run.id, 2, {}, 2)
    folder = settings.home / "cache" / "runs" / run.id
    folder.mkdir(parents=True)
    (folder / "pixels.npy").write_bytes(IMAGE)
    working = eraser(sqlite_store, cache=settings.home / "cache")
    crashing = working
    with monkeypatch.context() as patch:
        doomed = dict.fromkeys(("delete_image", "delete_analyses"), erase.doomed)
        places = doomed | {"rmtree": erase.shutil, "empty_wal": erase}
        if step == "unspool":
            crashing = replace(working, unspool=crash)
        else:
            patch.setattr(places.get(step, erase.erased), step, crash)
        with pytest.raises(KeyboardInterrupt):
            crashing.erase_example(example_id, "bob")
    assert class_counts(sqlite_store) == {"dog": 1}
    assert working.erase_example(example_id, "bob").finished_at is not None
    assert files_with(settings.home, IMAGE[20:]) == files_with(settings.home, VECTOR_BYTES) == []


def test_tuning_that_has_cached_the_image_begins_anew(sqlite_store: Store) -> None:
    example_id = label_both(sqlite_store)
    with sqlite_store.db.write() as conn:
        wanted = {"minutes": 3.0}
        old, _ = runs.request(conn, trigger="request", now=1.0, tier="blocks", wanted=wanted)
        runs.set_snapshot(conn, old.id, 2, {}, 2)
    erasure = eraser(sqlite_store).erase_example(example_id, "bob")
    assert erasure.receipt["runs"] == [old.id]
    with sqlite_store.db.read() as conn:
        [new] = runs.unfinished(conn)
    assert (new.tier, new.trigger, new.snapshot) == ("blocks", "erasure", None)
    assert new.parameters == {"wanted": wanted}


def test_same_image_sent_later_is_a_new_example(store: Store) -> None:
    label_both(store)
    eraser(store).erase_example(1, "bob")
    assert label(store).event.example_id == 3
    assert store.blobs.has(sha256(IMAGE))
    assert class_counts(store) == {"cat": 1, "dog": 1}
    again = eraser(store).erase_example(3, "bob")
    assert again.receipt["labels"] == [4]
    assert not store.blobs.has(sha256(IMAGE))


def test_near_duplicates_stay_a_group(sqlite_store: Store) -> None:
    store = sqlite_store
    copies = [images.png(64, 64, 5), images.jpeg(64, 64, 5)]
    for content in copies:
        label(store, LabelRequest("cat"), content)
    with store.db.write() as conn:  # whatever the fingerprints say
        conn.execute(update(schema.examples).values(group_id=sha256(copies[0])))
    erasure = eraser(store).erase_example(1, "bob")
    assert erasure.receipt["near_duplicates"] == [2]
    assert any("near-duplicates" in text for text in erasure.receipt["remains"])
    with store.db.read() as conn:
        [row] = labels.current(conn)
    assert row.group_id == row.image == sha256(copies[1])


def test_what_was_trained_between_the_first_label_and_the_erasure_saw_it(store: Store) -> None:
    label(store, LabelRequest("dog"), OTHER)
    example_id = label(store).event.example_id
    eraser(store).erase_example(example_id, "bob")
    with store.db.read() as conn:
        assert [erased.saw_erased(conn, n) for n in range(5)] == [False, False, True, False, False]
