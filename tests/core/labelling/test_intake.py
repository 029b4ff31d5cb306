from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import event as sqlalchemy_event

from core.errors import (
    IdempotencyConflict,
    ImageNotKept,
    ImageTooLarge,
    InvalidLabel,
    InvalidRequest,
    StoreError,
    UndecodableImage,
    UnknownPrediction,
)
from core.inputs.kind import Limits
from core.inputs.pixels.kind import PIXELS
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.store.blobs import Blobs, sha256
from core.store.store import Store
from tests.core.labelled_store import CAT, IMAGE, LIMITS, OTHER, count, current, label, predict
from tests.support import images
from tests.support.concurrency import in_threads


def test_labelled_image_is_an_example_with_its_blob(store: Store) -> None:
    result = label(store, LabelRequest("  cat ", who="ann"))
    assert result.is_new
    assert (result.event.label, result.event.who, result.event.created_at) == ("cat", "ann", 1.0)
    assert current(store) == [(sha256(IMAGE), "cat")]
    assert store.blobs.get(sha256(IMAGE)) == IMAGE


def test_second_label_of_an_image_corrects_the_first(store: Store) -> None:
    first, second = label(store), label(store, LabelRequest("dog"))
    assert second.event.example_id == first.event.example_id
    assert current(store) == [(sha256(IMAGE), "dog")]
    assert count(store, "examples") == 1


def test_blob_is_there_before_the_row_that_names_it(store: Store) -> None:
    seen = []
    engine = store.db._engine

    def check_blob(conn, cursor, statement, parameters, context, executemany) -> None:  # type: ignore[no-untyped-def]
        if statement.startswith("INSERT INTO examples"):
            seen.append(store.blobs.has(sha256(IMAGE)))

    sqlalchemy_event.listen(engine, "before_cursor_execute", check_blob)
    try:
        label(store)
    finally:
        sqlalchemy_event.remove(engine, "before_cursor_execute", check_blob)
    assert seen == [True]


def test_image_that_cannot_be_stored_gets_no_row(store: Store) -> None:
    class Full:
        def put(self, content: bytes, *, durable: bool = True) -> str:
            raise StoreError("the disk is full")

    full: Blobs = Full()  # type: ignore[assignment]
    with pytest.raises(StoreError, match="full"):
        label(replace(store, blobs=full))
    assert count(store) == count(store, "examples") == 0


@pytest.mark.parametrize(
    ("image", "request_", "limits", "error"),
    [
        (b"no image", CAT, LIMITS, UndecodableImage),
        (images.truncated(IMAGE), CAT, LIMITS, UndecodableImage),
        (IMAGE, CAT, Limits(max_pixels=100), ImageTooLarge),
        (IMAGE, LabelRequest(" "), LIMITS, InvalidLabel),
        (IMAGE, LabelRequest("cat", who="x" * 101), LIMITS, InvalidRequest),
        (IMAGE, LabelRequest("cat", who="\x00"), LIMITS, InvalidRequest),
        (IMAGE, LabelRequest("cat", who="\ud800"), LIMITS, InvalidRequest),
        (IMAGE, LabelRequest("cat", idempotency_key=""), LIMITS, InvalidRequest),
        (IMAGE, LabelRequest("cat", idempotency_key="x" * 256), LIMITS, InvalidRequest),
        (IMAGE, LabelRequest("cat", idempotency_key="a\x00"), LIMITS, InvalidRequest),
    ],
)
def test_invalid_request_stores_nothing(
    store: Store,
    image: bytes,
    request_: LabelRequest,
    limits: Limits,
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        intake.label_image(store, image, request_, limits, now=0.0)
    assert count(store) == count(store, "examples") == 0
    assert not store.blobs.has(sha256(image))


def test_same_key_and_request_is_the_same_event(store: Store) -> None:
    first = label(store, LabelRequest("cat", idempotency_key="k"))
    again = label(store, LabelRequest(" cat", idempotency_key="k"))
    assert (first.is_new, again.is_new) == (True, False)
    assert again.event == first.event
    assert count(store) == 1


@pytest.mark.parametrize(
    ("request_", "image"),
    [
        (LabelRequest("dog", idempotency_key="k"), IMAGE),
        (LabelRequest("cat", idempotency_key="k"), OTHER),
    ],
)
def test_same_key_with_another_request_conflicts(
    store: Store, request_: LabelRequest, image: bytes
) -> None:
    label(store, LabelRequest("cat", idempotency_key="k"))
    with pytest.raises(IdempotencyConflict, match="'k' came before"):
        label(store, request_, image)
    assert current(store) == [(sha256(IMAGE), "cat")]


def test_other_spelling_joins_the_class_that_was_named_first(store: Store) -> None:
    assert label(store, LabelRequest("disc")).event.label == "disc"
    assert label(store, LabelRequest(" Disc "), OTHER).event.label == "disc"
    assert {name for _, name in current(store)} == {"disc"}


def test_other_spelling_with_the_same_key_is_the_same_event(store: Store) -> None:
    first = label(store, LabelRequest("disc", idempotency_key="k"))
    again = label(store, LabelRequest("Disc", idempotency_key="k"))
    assert (again.is_new, again.event) == (False, first.event)


def test_class_first_named_by_many_threads_has_one_display_form(store: Store) -> None:
    spellings = ("Disc", "disc", "DISC", "dISC")
    results = in_threads(8, lambda i: label(store, LabelRequest(spellings[i % 4])))
    assert len({each.event.label for each in results}) == 1


def test_request_without_a_key_is_always_a_new_event(store: Store) -> None:
    assert label(store).event.id != label(store).event.id


def test_same_key_from_many_threads_makes_exactly_one_event(store: Store) -> None:
    keyed = LabelRequest("cat", idempotency_key="k")
    results = in_threads(8, lambda _: label(store, keyed))
    assert sum(each.is_new for each in results) == 1
    assert len({each.event.id for each in results}) == 1
    assert count(store) == 1


def test_same_new_image_from_many_threads_is_one_example(store: Store) -> None:
    results = in_threads(8, lambda i: label(store, LabelRequest(f"label {i}")))
    assert all(each.is_new for each in results)
    assert len({each.event.example_id for each in results}) == 1
    newest = max(results, key=lambda each: each.event.id)
    assert current(store) == [(sha256(IMAGE), newest.event.label)]


def test_prediction_is_labelled_by_its_id(store: Store) -> None:
    prediction_id = predict(store)
    result = intake.label_prediction(store, prediction_id, CAT, LIMITS, now=1.0)
    assert result.event.prediction_id == prediction_id
    assert current(store) == [(sha256(IMAGE), "cat")]


def test_image_of_a_labelled_prediction_is_stored_durably(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction_id = predict(store)
    kept = []
    put = type(store.blobs).put

    def spy(self: Blobs, content: bytes, *, durable: bool = True) -> str:
        kept.append(durable)
        return put(self, content, durable=durable)

    monkeypatch.setattr(type(store.blobs), "put", spy)
    intake.label_prediction(store, prediction_id, CAT, LIMITS, now=1.0)
    assert kept == [True]


def test_prediction_and_image_share_the_example(store: Store) -> None:
    first = label(store)
    result = intake.label_prediction(store, predict(store), LabelRequest("dog"), LIMITS, now=2.0)
    assert result.event.example_id == first.event.example_id
    assert current(store) == [(sha256(IMAGE), "dog")]


def test_key_is_shared_by_image_and_prediction(store: Store) -> None:
    keyed = LabelRequest("cat", idempotency_key="k")
    first = label(store, keyed)
    again = intake.label_prediction(store, predict(store), keyed, LIMITS, now=2.0)
    assert again.event == first.event


@pytest.mark.parametrize(
    "prediction_id",
    ["", "nope", "0" * 36, "x" * 10_000, "\x00", "\ud800", "é", "a\nb"],
    ids=["empty", "short", "absent", "long", "nul", "surrogate", "accent", "line break"],
)
def test_unknown_prediction_is_refused(store: Store, prediction_id: str) -> None:
    with pytest.raises(UnknownPrediction):
        intake.label_prediction(store, prediction_id, CAT, LIMITS, now=1.0)
    assert count(store) == 0


def test_image_that_was_not_kept_is_asked_for(store: Store) -> None:
    prediction_id = predict(store, OTHER)
    label(store)  # the store is there
    store.blobs.delete(sha256(OTHER))
    with pytest.raises(ImageNotKept, match="send the input itself"):
        intake.label_prediction(store, prediction_id, CAT, LIMITS, now=1.0)
    label(store, image=OTHER)
    intake.label_prediction(store, prediction_id, CAT, LIMITS, now=2.0)


def test_image_is_stored_without_what_follows_it(store: Store) -> None:
    image = images.jpeg(seed=5)
    first = intake.label_image(store, image + bytes(50_000), CAT, LIMITS, now=1.0)
    again = intake.label_image(store, image, CAT, LIMITS, now=2.0)
    assert first.event.example_id == again.event.example_id
    assert store.blobs.get(sha256(image)) == image
    assert not store.blobs.has(sha256(image + bytes(50_000)))


def test_image_that_was_stored_whole_stays_the_same_example(store: Store) -> None:
    whole = images.jpeg(seed=6) + bytes(1_000)
    new = intake.prepare(whole, LIMITS, "feedback", PIXELS)
    first = intake.store_label(store, whole, new, CAT, now=1.0)
    again = intake.label_image(store, whole, CAT, LIMITS, now=2.0)
    assert first.event.example_id == again.event.example_id
