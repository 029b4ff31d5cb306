"""Examples as lists show them, and which labels are suspected."""

from __future__ import annotations

from sqlalchemy import insert, update

from core.class_names import NONE_OF_THESE
from core.labelling import blanking, retractions
from core.labelling.label_request import LabelRequest
from core.review import suspicion
from core.review.items import ExampleItem, Found, read_items
from core.store.schema import labels
from core.store.store import Store
from core.store.tables.review import label_batches
from tests.core.labelled_store import label
from tests.support import images
from tests.support.analyses import Scored, analyse

PHOTOS = [images.png(24, 20, seed) for seed in range(4)]


def give(store: Store, name: str, photo: int = 0) -> int:
    """Label a photo. Returns the id of the event."""
    return label(store, LabelRequest(name), PHOTOS[photo]).event.id


def items_of(store: Store, found: Found | None, *ids: int) -> list[ExampleItem]:
    with store.db.read() as conn:
        return read_items(conn, ids, found)


def suspects(store: Store, found: Found) -> set[int]:
    with store.db.read() as conn:
        return suspicion.suspected(conn, read_items(conn, range(1, 5), found))


def test_items_come_in_the_order_of_their_ids_without_unknown_and_erased_ones(store: Store) -> None:
    for photo in range(3):
        give(store, "cat", photo)
    with store.db.write() as conn:
        blanking.retract_all(conn, 2, who="ann", now=2.0)
        blanking.blank(conn, 2)
    found = items_of(store, None, 3, 99, 2, 1)
    assert [item.id for item in found] == [3, 1]
    assert (found[0].width, found[0].height, found[0].source) == (24, 20, "feedback")
    assert (found[0].label, found[0].labelled_at, found[0].predicted) == ("cat", 1.0, None)


def test_item_says_what_the_analysis_does(store: Store) -> None:
    give(store, "cat")
    give(store, "dog", 1)
    found = analyse(store, {1: Scored("dog", 0.25, 0.5, True)})
    known, unknown = items_of(store, found, 1, 2)
    assert (known.predicted, known.label_probability) == ("dog", 0.25)
    assert (known.unfamiliar, known.similarity) == (True, 0.5)
    assert (unknown.predicted, unknown.label_probability, unknown.unfamiliar) == (None, None, None)


def test_label_of_after_the_analysis_has_no_probability(store: Store) -> None:
    give(store, "cat")
    found = analyse(store, {1: Scored("dog", 0.25)})
    give(store, "bird")
    (item,) = items_of(store, found, 1)
    assert (item.label, item.predicted, item.label_probability) == ("bird", "dog", None)


def test_label_that_a_retraction_brings_back_has_no_probability(store: Store) -> None:
    give(store, "cat")
    event = give(store, "dog")
    found = analyse(store, {1: Scored("cat", 0.25)})
    retractions.retract(store, event, who="ann", now=2.0)
    (item,) = items_of(store, found, 1)
    assert (item.label, item.label_probability) == ("cat", None)


def test_label_is_suspected_if_another_class_is_more_likely(store: Store) -> None:
    for photo in range(3):
        give(store, "cat", photo)
    give(store, NONE_OF_THESE, 3)
    scored = {1: Scored("dog", 0.25), 2: Scored("dog", 0.75), 3: Scored("cat", 0.25)}
    found = analyse(store, scored | {4: Scored("dog", 0.1)})
    assert suspicion.may_be_suspected_N(found[1]).tolist() == [True, False, False, False]
    assert suspects(store, found) == {1}
    give(store, "bird")
    assert suspects(store, found) == set()


def test_confirmed_label_is_not_suspected(store: Store) -> None:
    give(store, "cat")
    retracted = give(store, "cat")
    retractions.retract(store, retracted, who="ann", now=2.0)
    scored = {1: Scored("dog", 0.25)}
    assert suspects(store, analyse(store, scored)) == {1}
    give(store, "cat")
    assert suspects(store, analyse(store, scored)) == set()


def test_rename_neither_confirms_a_label_nor_doubts_a_confirmed_one(store: Store) -> None:
    for name, photo in (("cat", 0), ("cat", 0), ("cat", 1)):
        give(store, name, photo)
    with store.db.write() as conn:
        batch = {"id": 7, "kind": "rename", "who": "ann", "detail": {}, "created_at": 2.0}
        conn.execute(insert(label_batches).values(batch))
    for photo in (0, 1):
        event = give(store, "kitten", photo)
        with store.db.write() as conn:
            conn.execute(update(labels).where(labels.c.id == event).values(batch_id=7))
    scored = {1: Scored("dog", 0.25), 2: Scored("dog", 0.25)}
    assert suspects(store, analyse(store, scored)) == {2}
    give(store, "kitten", 1)  # a person confirms it
    assert suspects(store, analyse(store, scored)) == set()
