"""Examples whose images are gone: found, listed, back again, and erased. On each database."""

from __future__ import annotations

import pytest

from core.errors import UnknownExample
from core.labelling import intake, lost_images, retractions
from core.labelling.intake import LabelRequest
from core.store import lost_blobs
from core.store.blobs import LocalBlobs, sha256
from core.store.store import Store
from tests.core.labelled_store import CAT, IMAGE, LIMITS, OTHER, current, label, predict
from tests.support import images


def lose(store: Store, image: bytes = IMAGE, problem: str = "missing") -> None:
    assert isinstance(store.blobs, LocalBlobs)
    store.blobs.delete(sha256(image))
    lost_images.mark_lost(store, {sha256(image): problem}, now=7.0)


def listed(store: Store, **options: int) -> list[int]:
    with store.db.read() as conn:
        found = lost_images.listing(conn, **{"limit": 10, **options})
    return [lost.example_id for lost in found]


def test_lost_image_is_listed_with_its_current_label(store: Store) -> None:
    label(store)
    label(store, LabelRequest("dog"))
    lose(store)
    with store.db.read() as conn:
        (lost,) = lost_images.listing(conn, limit=10)
        assert lost_images.count(conn) == (1, 7.0)
    assert (lost.label, lost.problem, lost.image) == ("dog", "missing", sha256(IMAGE))


def test_first_time_of_a_loss_is_kept(store: Store) -> None:
    label(store)
    lose(store)
    lost_images.mark_lost(store, {sha256(IMAGE): "damaged"}, now=9.0)
    with store.db.read() as conn:
        assert lost_images.count(conn) == (1, 7.0)


def test_list_is_bounded_and_goes_on_after_an_id(store: Store) -> None:
    photos = [images.png(24, 20, seed) for seed in range(5)]
    for photo in photos:
        label(store, image=photo)
        lose(store, photo)
    first = listed(store, limit=2)
    assert [*first, *listed(store, after=first[-1])] == [1, 2, 3, 4, 5]


def test_lost_blob_that_is_no_labelled_example_is_no_lost_image(store: Store) -> None:
    result = label(store)
    retractions.retract(store, result.event.id, who="me", now=2.0)
    predict(store, OTHER)
    lose(store)
    lose(store, OTHER)
    assert listed(store) == []


def test_image_that_is_sent_again_is_no_longer_lost(store: Store) -> None:
    label(store)
    lose(store)
    label(store)
    assert listed(store) == []
    assert store.blobs.get(sha256(IMAGE)) == IMAGE


def test_label_by_id_finds_that_the_image_of_its_example_is_lost(store: Store) -> None:
    prediction_id = predict(store)
    label(store)
    store.blobs.delete(sha256(IMAGE))
    intake.label_prediction(store, prediction_id, LabelRequest("dog"), LIMITS, now=2.0)
    assert listed(store) == [1]
    assert current(store) == [(sha256(IMAGE), "dog")]


def test_erasing_retracts_every_label_of_the_example_and_no_other(store: Store) -> None:
    label(store)
    label(store, LabelRequest("dog"))
    label(store, CAT, OTHER)
    lose(store)
    events = lost_images.erase(store, 1, who="me", now=3.0)
    assert [event.retracts for event in events] == [2, 1]
    assert {event.who for event in events} == {"me"}
    assert current(store) == [(sha256(OTHER), "cat")]
    assert listed(store) == []
    with pytest.raises(UnknownExample, match="is not lost"):
        lost_images.erase(store, 1, who="me", now=4.0)


def test_image_that_is_back_is_not_erased(store: Store) -> None:
    label(store)
    lose(store)
    store.blobs.put(IMAGE)
    with pytest.raises(UnknownExample, match="there again"):
        lost_images.erase(store, 1, who="me", now=3.0)
    assert current(store) == [(sha256(IMAGE), "cat")]
    with store.db.read() as conn:
        assert lost_blobs.read(conn) == {}


@pytest.mark.parametrize("example_id", [0, 2, 2**63, -5])
def test_example_that_is_not_lost_is_not_erased(store: Store, example_id: int) -> None:
    label(store)
    lose(store)
    with pytest.raises(UnknownExample):
        lost_images.erase(store, example_id, who="me", now=3.0)


def test_erased_photo_that_is_sent_again_is_learned_again(store: Store) -> None:
    label(store)
    lose(store)
    lost_images.erase(store, 1, who="me", now=3.0)
    label(store, LabelRequest("dog"))
    assert current(store) == [(sha256(IMAGE), "dog")]
