"""The oracle of `bench.durability` finds what is lost or doubled."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import delete

from bench.durability.ledger import Label, Ledger, check
from core.inputs.kind import Limits
from core.labelling import intake, retractions
from core.labelling.intake import LabelRequest
from core.store import schema
from core.store.blobs import sha256
from core.store.store import Store
from tests.support import images

IMAGE = images.png(32, 32)


@pytest.fixture
def ledger(sqlite_store: Store) -> Ledger:
    """It knows a label, which is retracted, and a prediction that was not kept."""
    ledger, now = Ledger(), time.time()
    request = LabelRequest("cat", idempotency_key="one")
    event = intake.label_image(sqlite_store, IMAGE, request, Limits(), now).event
    ledger.note_label("one", Label(event.id, sha256(IMAGE), "cat"))
    again = retractions.retract(sqlite_store, event.id, who="test", now=now).event
    ledger.note_retraction(event.id, again.id)
    ledger.note_prediction("a prediction", sha256(IMAGE))
    return ledger


def test_what_is_there_is_neither_lost_nor_doubled(sqlite_store: Store, ledger: Ledger) -> None:
    verdict = check(ledger, sqlite_store)
    assert (verdict.lost, verdict.doubled) == ([], [])
    assert verdict.num_predictions_not_kept == 1


def test_lost_retraction_is_found(sqlite_store: Store, ledger: Ledger) -> None:
    with sqlite_store.db.write() as conn:
        conn.execute(delete(schema.labels).where(schema.labels.c.retracts.is_not(None)))
    assert len(check(ledger, sqlite_store).lost) == 1


def test_lost_label_and_image_are_found(sqlite_store: Store, ledger: Ledger) -> None:
    with sqlite_store.db.write() as conn:
        conn.execute(delete(schema.labels))
    sqlite_store.blobs.delete(sha256(IMAGE))
    lost = " ".join(check(ledger, sqlite_store).lost)
    assert "one:" in lost
    assert "retraction" in lost
    assert "missing" in lost


def test_label_that_was_acknowledged_twice_is_found(sqlite_store: Store, ledger: Ledger) -> None:
    ledger.note_label("one", Label(7, sha256(IMAGE), "cat"))
    assert len(check(ledger, sqlite_store).doubled) == 1
