"""What was under way during an erasure brings nothing back."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from core import predictions
from core.errors import UnknownPrediction
from core.labelling import intake
from core.labelling.label_request import LabelRequest
from core.retention.policy import CapturePolicy, RetentionPolicy
from core.retention.sweep import Sweeper
from core.store import schema
from core.store.blobs import sha256
from core.store.store import Store
from tests.core import labelled_store
from tests.core.erasure.erasing import embed, eraser
from tests.core.labelled_store import IMAGE, LIMITS, count, label, predict


def sweep(store: Store) -> None:
    list(Sweeper(store, CapturePolicy(), RetentionPolicy()).sweep(store.db.clock()))


def test_label_by_id_that_was_under_way_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction_id = predict(store)
    append = intake._append

    def erase_first(*args: Any) -> Any:
        eraser(store).erase_prediction(prediction_id, "bob")
        store.blobs.put(IMAGE)  # as the label did a moment before, or after
        return append(*args)

    monkeypatch.setattr(intake, "_append", erase_first)
    with pytest.raises(UnknownPrediction, match="was erased"):
        intake.label_prediction(store, prediction_id, LabelRequest("cat"), LIMITS, 1.0)
    sweep(store)
    assert not store.blobs.has(sha256(IMAGE))
    assert count(store, "examples") == 0


def test_label_of_the_image_that_was_under_way_is_a_new_example(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction_id = predict(store)
    append = intake._append

    def erase_first(*args: Any) -> Any:
        eraser(store).erase_prediction(prediction_id, "bob")
        return append(*args)

    monkeypatch.setattr(intake, "_append", erase_first)
    label(store)
    assert store.blobs.get(sha256(IMAGE)) == IMAGE
    assert labelled_store.current(store) == [(sha256(IMAGE), "cat")]


def test_late_prediction_and_embedding_are_dropped(store: Store) -> None:
    predict(store)
    example_id = label(store).event.example_id
    with store.db.read() as conn:
        late = predictions.Prediction(**conn.execute(select(schema.predictions)).one()._mapping)
    eraser(store).erase_example(example_id, "bob")
    embed(store, example_id)
    assert count(store, "embeddings") == 0
    predictions.add_missing(store.db, [late])
    assert count(store, "predictions") == 0
    store.blobs.put(IMAGE)
    predictions.add(store.db, [late])
    sweep(store)
    assert count(store, "predictions") == 0
    assert not store.blobs.has(sha256(IMAGE))
