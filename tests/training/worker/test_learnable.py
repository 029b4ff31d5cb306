"""Which new labels are worth a run."""

from __future__ import annotations

import time
from collections.abc import Iterable

from core.inputs.kind import Limits
from core.labelling import intake, labels, retractions
from core.labelling.intake import LabelRequest
from core.store.store import Store
from tests.support.digits import Digit
from tests.training.digits_store import digits_of, label
from training.worker.learnable import can_learn


def is_worth_a_run(store: Store, after: int) -> bool:
    with store.db.read() as conn:
        return can_learn(conn, after)


def newest(store: Store) -> int:
    with store.db.read() as conn:
        return labels.newest_id(conn)


def name(store: Store, photos: Iterable[Digit], as_class: str) -> None:
    for photo in photos:
        request = LabelRequest(as_class)
        intake.label_image(store, photo.image, request, Limits(), time.time())


def test_labels_are_worth_a_run_from_two_classes_of_two_on(sqlite_store: Store) -> None:
    twos, fives = digits_of("two"), digits_of("five")
    name(sqlite_store, twos[:12], "two")
    assert not is_worth_a_run(sqlite_store, 0)
    worth = []
    for photo in fives[:8]:
        name(sqlite_store, [photo], "five")
        worth.append(is_worth_a_run(sqlite_store, 0))
    assert not worth[0]
    assert worth[-1]
    assert worth == sorted(worth), "once enough, always enough"


def test_first_example_of_a_new_class_is_not_worth_a_run(sqlite_store: Store) -> None:
    label(sqlite_store, [*digits_of("two")[:12], *digits_of("five")[:12]])
    trained = newest(sqlite_store)
    assert not is_worth_a_run(sqlite_store, trained)
    sevens = digits_of("seven")
    name(sqlite_store, sevens[:1], "seven")
    assert not is_worth_a_run(sqlite_store, trained)
    name(sqlite_store, sevens[1:8], "seven")
    assert is_worth_a_run(sqlite_store, trained)


def test_label_of_a_known_class_is_worth_a_run(sqlite_store: Store) -> None:
    label(sqlite_store, [*digits_of("two")[:12], *digits_of("five")[:12]])
    trained = newest(sqlite_store)
    name(sqlite_store, digits_of("two")[12:13], "two")
    assert is_worth_a_run(sqlite_store, trained)


def test_example_that_moves_to_a_new_class_is_worth_a_run(sqlite_store: Store) -> None:
    label(sqlite_store, [*digits_of("two")[:12], *digits_of("five")[:12]])
    trained = newest(sqlite_store)
    name(sqlite_store, digits_of("two")[:1], "seven")
    assert is_worth_a_run(sqlite_store, trained)


def test_label_that_is_taken_back_is_worth_a_run(sqlite_store: Store) -> None:
    label(sqlite_store, [*digits_of("two")[:12], *digits_of("five")[:12]])
    trained = newest(sqlite_store)
    retractions.retract(sqlite_store, trained, who="test", now=time.time())
    assert is_worth_a_run(sqlite_store, trained)


def test_label_none_of_these_is_worth_a_run_if_it_takes_an_example_out_of_a_class(
    sqlite_store: Store,
) -> None:
    label(sqlite_store, [*digits_of("two")[:12], *digits_of("five")[:12]])
    trained = newest(sqlite_store)
    name(sqlite_store, digits_of("seven")[:8], "none of these")
    retractions.retract(sqlite_store, newest(sqlite_store), who="test", now=time.time())
    assert not is_worth_a_run(sqlite_store, trained)
    name(sqlite_store, digits_of("two")[:1], "none of these")
    assert is_worth_a_run(sqlite_store, trained)
