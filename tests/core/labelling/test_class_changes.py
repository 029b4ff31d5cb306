from __future__ import annotations

import pytest
from sqlalchemy import select

from core.audit import Actor
from core.class_names import NONE_OF_THESE
from core.errors import ClassTaken, InvalidLabel, InvalidRequest, UnknownBatch, UnknownClass
from core.labelling import batches, class_changes, labels, retractions
from core.labelling.batches import Undone
from core.labelling.census import has_left_a_class, read_census
from core.labelling.class_changes import ClassChange
from core.labelling.classes import join_labels_of_older_release, read_names
from core.labelling.label_request import LabelRequest
from core.store.schema import audit as audit_tables
from core.store.store import Store
from tests.core.labelled_store import count, label
from tests.support import images

ANN = Actor("ann")


@pytest.fixture
def labelled(store: Store) -> Store:
    """Examples 1 to 4: three cats, of which the second was a dog, and a dog."""
    for seed, name in ((1, "cat"), (2, "dog"), (2, "cat"), (3, "cat"), (4, "dog")):
        give(store, seed, name)
    return store


def give(store: Store, seed: int, name: str) -> int:
    return label(store, LabelRequest(name), images.png(24, 20, seed)).event.id


def names(store: Store) -> list[str]:
    """The labels of the examples that have one, by id; the kept counts must say the same."""
    with store.db.read() as conn:
        current = [row.label for row in labels.current(conn)]
        snapshot = labels.newest_id(conn)
        assert [row.label for row in labels.current(conn, snapshot)] == current
        sizes = labels.count_current(conn)
    by_name = {name: current.count(name) for name in current}
    assert {name: sum(n for c, _, n in sizes if c == name) for name, _, _ in sizes} == by_name
    return current


def rename(store: Store, old: str, new: str) -> ClassChange:
    return class_changes.rename(store, old, new, who="ann", now=5.0, by=ANN)


def merge(store: Store, these: list[str], into: str) -> ClassChange:
    return class_changes.merge(store, these, into, who="ann", now=5.0, by=ANN)


def delete(store: Store, name: str) -> ClassChange:
    return class_changes.delete(store, name, who="ann", now=5.0, by=ANN)


def undo(store: Store, batch_id: int) -> Undone:
    return batches.undo(store, batch_id, who="ben", now=6.0)


def test_renamed_class_gives_its_examples_the_name_and_undo_takes_it(labelled: Store) -> None:
    change = rename(labelled, "cat", "Kitten")
    assert change == ClassChange(1, 3, "Kitten")
    assert names(labelled) == ["Kitten", "Kitten", "Kitten", "dog"]
    assert undo(labelled, 1) == Undone(1, retracted=3, restored=0, kept=0)
    assert names(labelled) == ["cat", "cat", "cat", "dog"]


def test_batch_that_was_undone_answers_the_same_and_changes_nothing(labelled: Store) -> None:
    batch_id = rename(labelled, "cat", "kitten").batch_id
    first, num_events = undo(labelled, batch_id), count(labelled)
    assert undo(labelled, batch_id) == first
    assert count(labelled) == num_events


def test_undo_keeps_labels_that_were_given_later(labelled: Store) -> None:
    batch_id = rename(labelled, "cat", "kitten").batch_id
    give(labelled, 2, "fox")
    assert undo(labelled, batch_id) == Undone(batch_id, retracted=3, restored=0, kept=1)
    assert names(labelled) == ["cat", "fox", "cat", "dog"]


def test_changes_can_be_undone_in_any_order(labelled: Store) -> None:
    first = rename(labelled, "cat", "kitten").batch_id
    second = rename(labelled, "kitten", "lion").batch_id
    assert undo(labelled, first).kept == 3
    assert names(labelled) == ["lion", "lion", "lion", "dog"]
    assert undo(labelled, second).kept == 0
    assert names(labelled) == ["cat", "cat", "cat", "dog"]


def test_new_spelling_is_the_display_form_until_it_is_undone(labelled: Store) -> None:
    change = rename(labelled, "CAT", "Cat")
    assert (change.changed, change.name) == (3, "Cat")
    assert names(labelled) == ["Cat", "Cat", "Cat", "dog"]
    give(labelled, 4, "cat")
    assert names(labelled) == ["Cat"] * 4
    join_labels_of_older_release(labelled.db)
    assert names(labelled) == ["Cat"] * 4
    undo(labelled, change.batch_id)
    with labelled.db.read() as conn:
        assert read_names(conn)["cat"] == "cat"
    assert names(labelled) == ["cat"] * 4


def test_label_that_comes_back_has_the_spelling_of_its_class(labelled: Store) -> None:
    given = give(labelled, 1, "dog")
    rename(labelled, "cat", "Cat")
    retractions.retract(labelled, given, who="ann", now=6.0)
    assert names(labelled) == ["Cat", "Cat", "Cat", "dog"]


def test_name_of_another_class_is_refused_until_that_class_is_gone(labelled: Store) -> None:
    for taken in ("dog", "DOG", NONE_OF_THESE):
        with pytest.raises(ClassTaken, match="merge"):
            rename(labelled, "cat", taken)
    rename(labelled, "dog", "wolf")
    assert rename(labelled, "cat", "Dog").name == "Dog"
    assert names(labelled) == ["Dog", "Dog", "Dog", "wolf"]


def test_merged_classes_are_one_and_undo_parts_them(labelled: Store) -> None:
    give(labelled, 5, "fox")
    change = merge(labelled, ["cat", "fox", "Cat"], "dog")
    assert change.changed == 4
    assert names(labelled) == ["dog"] * 5
    undo(labelled, change.batch_id)
    assert names(labelled) == ["cat", "cat", "cat", "dog", "fox"]


def test_class_may_be_merged_into_one_of_them_a_new_one_or_none_of_these(labelled: Store) -> None:
    assert merge(labelled, ["cat", "dog"], "dog").changed == 3
    assert merge(labelled, ["dog"], "animal").name == "animal"
    change = merge(labelled, ["animal"], "None of these")
    assert names(labelled) == [NONE_OF_THESE] * 4
    with labelled.db.read() as conn:
        assert read_census(conn).num_trained == {}
    undo(labelled, change.batch_id)
    assert names(labelled) == ["animal"] * 4


def test_examples_of_a_deleted_class_have_no_label_and_undo_gives_it_back(labelled: Store) -> None:
    with labelled.db.read() as conn:
        snapshot = labels.newest_id(conn)
    change = delete(labelled, "cat")
    assert change == ClassChange(1, 3, None)
    assert names(labelled) == ["dog"]
    with labelled.db.read() as conn:
        assert has_left_a_class(conn, snapshot)
    give(labelled, 3, "fox")
    assert undo(labelled, 1) == Undone(1, retracted=0, restored=2, kept=1)
    assert names(labelled) == ["cat", "cat", "fox", "dog"]
    assert undo(labelled, 1) == Undone(1, retracted=0, restored=2, kept=1)


@pytest.mark.parametrize("merge_is_first", [True, False])
def test_deletion_and_an_earlier_merge_are_undone_in_any_order(
    labelled: Store, merge_is_first: bool
) -> None:
    merged = merge(labelled, ["cat"], "dog").batch_id
    deleted = delete(labelled, "dog").batch_id
    assert names(labelled) == []
    if merge_is_first:
        assert undo(labelled, merged).retracted == 0
        assert undo(labelled, deleted).restored == 4
    else:
        assert undo(labelled, deleted).restored == 4
        assert names(labelled) == ["dog"] * 4
        assert undo(labelled, merged).retracted == 3
    assert names(labelled) == ["cat", "cat", "cat", "dog"]


def test_undone_deletion_gives_no_label_of_a_batch_that_was_undone_meanwhile(
    labelled: Store,
) -> None:
    renamed = rename(labelled, "dog", "wolf").batch_id
    deleted = delete(labelled, "wolf").batch_id
    undo(labelled, renamed)
    give(labelled, 4, "fox")
    assert undo(labelled, deleted) == Undone(deleted, retracted=0, restored=0, kept=1)
    assert names(labelled) == ["cat", "cat", "cat", "fox"]


def test_none_of_these_and_unknown_classes_are_refused(labelled: Store) -> None:
    give(labelled, 6, NONE_OF_THESE)
    for refused in (
        lambda: rename(labelled, "None of these", "x"),
        lambda: merge(labelled, [NONE_OF_THESE], "cat"),
        lambda: delete(labelled, NONE_OF_THESE),
        lambda: rename(labelled, "cat", "cat"),
        lambda: merge(labelled, ["cat"], "Cat"),
        lambda: merge(labelled, [], "cat"),
        lambda: merge(labelled, ["cat"] * 101, "dog"),
    ):
        with pytest.raises(InvalidRequest):
            refused()
    for unknown in (
        lambda: rename(labelled, "cow", "x"),
        lambda: merge(labelled, ["cat", "cow"], "dog"),
        lambda: delete(labelled, "cow"),
    ):
        with pytest.raises(UnknownClass, match=r"'cow'.*GET /v1/classes"):
            unknown()
    with pytest.raises(InvalidLabel):
        rename(labelled, "cat", " ")
    with pytest.raises(UnknownBatch):
        undo(labelled, 99)
    assert count(labelled, "label_batches") == 0
    assert count(labelled) == 6


def test_repeated_change_says_that_it_may_be_done_already(labelled: Store) -> None:
    rename(labelled, "cat", "kitten")
    with pytest.raises(UnknownClass, match="already"):
        rename(labelled, "cat", "kitten")


def test_change_is_in_the_audit_without_a_name_of_a_class(labelled: Store) -> None:
    undo(labelled, rename(labelled, "cat", "kitten").batch_id)
    delete(labelled, "dog")
    table = audit_tables.audit_events.c
    query = select(table.action, table.subject, table.who, table.detail).order_by(table.id.desc())
    with labelled.db.read() as conn:
        found = [tuple(row) for row in conn.execute(query.limit(3))]
    assert found == [
        ("class.deleted", "batch 2", "ann", {"count": 1}),
        ("batch.undone", "batch 1", "ben", {"retracted": 3, "restored": 0, "kept": 0}),
        ("class.renamed", "batch 1", "ann", {"count": 3}),
    ]


def test_batches_are_listed_newest_first(labelled: Store) -> None:
    for new in ("a", "b", "c"):
        rename(labelled, "cat" if new == "a" else chr(ord(new) - 1), new)
    with labelled.db.read() as conn:
        listed = batches.listing(conn, limit=2)
        assert [batch.id for batch in listed] == [3, 2]
        assert [batch.id for batch in batches.listing(conn, limit=9, before=2)] == [1]
    assert listed[0].detail == {"from": ["b"], "to": "c", "spelling": None, "changed": 3}
