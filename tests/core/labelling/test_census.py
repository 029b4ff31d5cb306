from __future__ import annotations

import itertools

import pytest

from core.errors import NotEnoughLabels
from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.census import check_enough, require_enough, take_census
from core.labelling.intake import LabelRequest
from core.labelling.labels import CurrentLabel
from core.store.store import Store
from tests.support import images

_ids = itertools.count(1)


def rows(**num_of_class: int) -> list[CurrentLabel]:
    """Make this many examples of each class. Those of `cat_held` are held-out cats."""
    return [
        CurrentLabel(next(_ids), "image", name.removesuffix("_held"), name.endswith("_held"), "g")
        for name, num in num_of_class.items()
        for _ in range(num)
    ]


@pytest.mark.parametrize(
    ("labelled", "classes"),
    [
        ({}, ()),
        ({"cat": 5}, ("cat",)),
        ({"cat": 2, "dog": 2}, ("cat", "dog")),
        ({"dog": 2, "cat": 2}, ("cat", "dog")),
        ({"cat": 2, "dog": 1}, ("cat",)),
        ({"cat": 2, "dog": 1, "dog_held": 9}, ("cat",)),
        ({"cat": 2, "dog": 2, "fox": 1}, ("cat", "dog")),
    ],
)
def test_class_needs_two_training_examples(
    labelled: dict[str, int], classes: tuple[str, ...]
) -> None:
    census = take_census(rows(**labelled))
    assert census.classes == classes
    assert census.is_enough == (len(classes) >= 2)


def test_held_out_examples_are_counted_separately() -> None:
    census = take_census(rows(cat=3, cat_held=2, dog=1))
    assert census.num_trained == {"cat": 3, "dog": 1}
    assert census.num_held_out == 2


def test_message_says_which_labels_are_missing() -> None:
    need = "training needs 2 classes of 2 examples each"
    with pytest.raises(NotEnoughLabels, match=f"nothing is labelled yet; {need}"):
        check_enough(take_census([]))
    with pytest.raises(NotEnoughLabels, match=rf"too few labels \('cat': 3, 'dog': 1\); {need}"):
        check_enough(take_census(rows(cat=3, dog=1)))
    check_enough(take_census(rows(cat=2, dog=2)))


def test_long_census_is_shortened_in_the_message() -> None:
    with pytest.raises(NotEnoughLabels) as caught:
        check_enough(take_census(rows(**{f"class {i}": 1 for i in range(500)})))
    assert len(str(caught.value)) < 500


def test_require_enough_counts_the_current_labels(store: Store) -> None:
    with store.db.read() as conn, pytest.raises(NotEnoughLabels):
        require_enough(conn)
    for seed, label in enumerate(["cat", "cat", "dog", "dog"]):
        request = LabelRequest(label)
        intake.label_image(store, images.png(24, 24, seed), request, Limits(), now=0.0)
    with store.db.read() as conn:
        assert require_enough(conn).classes == ("cat", "dog")
