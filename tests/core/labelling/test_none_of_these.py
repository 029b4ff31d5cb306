from __future__ import annotations

import pytest
from sqlalchemy import select, update

from core.class_names import NONE_OF_THESE, is_class, normalise
from core.labelling import classes, intake, labels
from core.labelling.census import has_left_a_class, read_census, take_census
from core.labelling.label_request import LabelRequest
from core.store import schema
from core.store.store import Store
from tests.core.labelled_store import LIMITS, label
from tests.support import images


def give(store: Store, seed: int, name: str) -> int:
    return label(store, LabelRequest(name), images.png(24, 20, seed)).event.id


def has_left(store: Store, snapshot: int) -> bool:
    with store.db.read() as conn:
        return has_left_a_class(conn, snapshot)


@pytest.mark.parametrize(
    "spelling", ["none of these", "None of These", " NONE  of\u00a0these ", "n\uff4fne of these"]
)
def test_spelling_of_none_of_these_becomes_it(spelling: str) -> None:
    assert normalise(spelling) == NONE_OF_THESE
    assert not is_class(spelling)


def test_class_of_a_similar_name_stays_a_class() -> None:
    for name in ("none", "none of those", "noneofthese"):
        assert normalise(name) == name
        assert is_class(name)


def test_example_that_is_none_of_these_is_counted_nowhere(store: Store) -> None:
    for seed in range(3):
        give(store, seed, "None Of These")
    give(store, 9, "cat")
    with store.db.read() as conn:
        rows = labels.current(conn)
        assert [row.label for row in rows] == [NONE_OF_THESE] * 3 + ["cat"]
        for census in (read_census(conn), take_census(rows)):
            assert census.num_trained == {"cat": 1}
            assert census.num_held_out == 0
            assert census.classes == ()


def test_class_of_an_earlier_release_becomes_none_of_these(store: Store) -> None:
    give(store, 1, "x")
    spelled = {"identity": "none of these", "name": "None of these"}
    with store.db.write() as conn:
        conn.execute(update(schema.classes).values(**spelled))
        conn.execute(update(schema.labels).values(label="None of these"))
    with store.db.read() as conn:
        assert read_census(conn).num_trained == {}
    classes.join_labels_of_older_release(store.db)
    with store.db.read() as conn:
        assert [row.label for row in labels.current(conn)] == [NONE_OF_THESE]
        assert conn.execute(select(schema.classes.c.name)).scalars().all() == [NONE_OF_THESE]


def test_only_an_example_that_leaves_a_class_has_left_one(store: Store) -> None:
    give(store, 1, "cat")
    snapshot = give(store, 2, NONE_OF_THESE)
    assert not has_left(store, snapshot)
    give(store, 2, NONE_OF_THESE)
    give(store, 3, NONE_OF_THESE)
    give(store, 3, "dog")
    give(store, 1, "cat")
    assert not has_left(store, snapshot)
    given = give(store, 1, NONE_OF_THESE)
    assert has_left(store, snapshot)
    assert not has_left(store, given)
    give(store, 1, "dog")
    assert has_left(store, snapshot)


def test_example_whose_label_is_retracted_has_left_its_class(store: Store) -> None:
    event = intake.label_image(store, images.png(24, 20, 1), LabelRequest("cat"), LIMITS, 1.0).event
    assert not has_left(store, event.id)
    with store.db.write() as conn:
        labels.append(conn, example_id=event.example_id, label=None, retracts=event.id, now=1.0)
    assert has_left(store, event.id)
