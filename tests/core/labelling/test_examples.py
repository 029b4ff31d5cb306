from __future__ import annotations

import hashlib
from math import sqrt

import pytest

from core import predictions
from core.ids import new_id
from core.inputs.kind import Limits
from core.inputs.pixels.kind import PIXELS
from core.labelling import examples, intake, labels
from core.labelling.examples import HOLD_OUT_SHARE, NUM_ALWAYS_TRAINED, Example, split
from core.predictions import Prediction
from core.store.blobs import sha256
from core.store.store import Store
from tests.core import labelled_store
from tests.support import images

LIMITS = Limits()
NUM_GROUPS = 20_000
# Four standard deviations of a binomial share: a fair split exceeds it once in 16,000 runs.
SHARE_TOLERANCE = 4 * sqrt(HOLD_OUT_SHARE * (1 - HOLD_OUT_SHARE) / NUM_GROUPS)


def digest(i: int) -> str:
    return hashlib.sha256(str(i).encode()).hexdigest()


def add(store: Store, image: bytes, label: str = "cat") -> Example:
    new = intake.prepare(image, LIMITS, "test", PIXELS)
    with store.db.write() as conn:
        example = examples.find(conn, new.image) or examples.add(conn, new, label, now=0.0)
        labels.append(conn, example_id=example.id, label=label, now=0.0)
    return example


def test_a_fifth_of_many_groups_is_held_out() -> None:
    share = sum(split(digest(i), 100) for i in range(NUM_GROUPS)) / NUM_GROUPS
    assert share == pytest.approx(HOLD_OUT_SHARE, abs=SHARE_TOLERANCE)


def test_split_is_the_same_in_every_release() -> None:
    """Pinned: otherwise examples held out by an earlier release would be trained on."""
    held_out = [7, 8, 12, 18, 19, 20, 21]
    for num_of_class in (4, 10**6):
        assert [i for i in range(30) if split(digest(i), num_of_class)] == held_out


@pytest.mark.parametrize("num_of_class", range(NUM_ALWAYS_TRAINED))
def test_first_four_of_a_class_train_for_any_hash(num_of_class: int) -> None:
    assert not any(split(digest(i), num_of_class) for i in range(1000))


def test_first_four_images_of_each_class_train(store: Store) -> None:
    for seed in range(8):
        label = "cat" if seed % 2 else "dog"
        assert not add(store, images.png(24, 24, seed), label).is_held_out


def test_hold_out_begins_with_the_fifth_image_of_a_class(store: Store) -> None:
    sides = [add(store, images.png(24, 24, seed)).is_held_out for seed in range(40)]
    assert not any(sides[:4])
    assert any(sides[4:])
    with store.db.read() as conn:
        held_out = [row.is_held_out for row in labels.current(conn)]
    assert held_out == sides


def test_new_image_is_a_group_of_its_own(store: Store) -> None:
    a, b = add(store, images.png(64, 48, 1)), add(store, images.png(64, 48, 2))
    assert a.group_id == a.image
    assert b.group_id == b.image


def test_near_duplicates_share_their_group_and_side(store: Store) -> None:
    for seed in range(4):
        add(store, images.png(64, 48, seed))
    sides = set()
    for seed in range(10, 30):
        scene = images.scene(160, 120, seed)
        original = add(store, images.encode(scene, "PNG"))
        # The copies have a label with few examples: alone they would always train.
        copy = add(store, images.encode(scene, "JPEG", quality=80), f"other {seed}")
        smaller = add(store, images.encode(scene.resize((120, 90)), "PNG"), f"other {seed}")
        assert {copy.group_id, smaller.group_id} == {original.group_id}
        assert copy.is_held_out == smaller.is_held_out == original.is_held_out
        sides.add(original.is_held_out)
    assert sides == {True, False}


def test_example_is_found_by_its_image(store: Store) -> None:
    added = add(store, images.png(24, 24))
    with store.db.read() as conn:
        assert examples.find(conn, added.image) == added
        assert examples.find(conn, "0" * 64) is None


def test_captured_digests_are_those_of_examples_and_of_kept_predictions(store: Store) -> None:
    labelled, predicted = images.png(24, 24, 1), images.png(24, 24, 2)
    labelled_store.label(store, image=labelled)
    for image in (labelled, predicted, predicted):
        labelled_store.predict(store, image)
    not_kept = Prediction(new_id(), "0" * 64, 1, "dog", 0.6, 0.2, 0.5, kept_bytes=None)
    predictions.add(store.db, [not_kept])
    with store.db.read() as conn:
        digests = examples.captured_digests(conn)
    assert digests == sorted([sha256(labelled), sha256(predicted)])
