from __future__ import annotations

import pytest

from core.errors import (
    UnknownFeedback,
)
from core.labelling import retractions
from core.labelling.intake import LabelRequest
from core.store.blobs import sha256
from core.store.store import Store
from tests.core.labelled_store import IMAGE, count, current, label
from tests.support.concurrency import in_threads


def test_retraction_is_an_event_that_restores_the_earlier_label(store: Store) -> None:
    label(store)
    dog = label(store, LabelRequest("dog")).event
    result = retractions.retract(store, dog.id, who="ann", now=3.0)
    assert result.is_new
    assert (result.event.retracts, result.event.label, result.event.who) == (dog.id, None, "ann")
    assert current(store) == [(sha256(IMAGE), "cat")]


def test_second_retraction_adds_no_event(store: Store) -> None:
    event = label(store).event
    first, again = (retractions.retract(store, event.id, who="ann", now=n) for n in (3.0, 4.0))
    assert (first.is_new, again.is_new) == (True, False)
    assert again.event == first.event
    assert count(store) == 2


def test_concurrent_retractions_write_one_event(store: Store) -> None:
    event = label(store).event
    results = in_threads(8, lambda i: retractions.retract(store, event.id, who=str(i), now=3.0))
    assert sum(each.is_new for each in results) == 1
    assert count(store) == 2


@pytest.mark.parametrize("event_id", [0, -1, 99, 2**63, 10**30])
def test_unknown_feedback_cannot_be_retracted(store: Store, event_id: int) -> None:
    with pytest.raises(UnknownFeedback, match=str(event_id)):
        retractions.retract(store, event_id, who="ann", now=3.0)


def test_retraction_cannot_be_retracted(store: Store) -> None:
    retraction = retractions.retract(store, label(store).event.id, who="ann", now=3.0).event
    with pytest.raises(UnknownFeedback):
        retractions.retract(store, retraction.id, who="ann", now=4.0)


def test_key_still_returns_its_event_after_the_retraction(store: Store) -> None:
    keyed = LabelRequest("cat", idempotency_key="k")
    event = label(store, keyed).event
    retractions.retract(store, event.id, who="ann", now=3.0)
    assert label(store, keyed).event == event
    assert current(store) == []
