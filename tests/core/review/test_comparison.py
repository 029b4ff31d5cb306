"""Versions that are scored on held-out examples, and compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from sqlalchemy import update

from core.class_names import NONE_OF_THESE
from core.errors import UnknownVersion, VersionRetired
from core.labelling import labels
from core.models.backbones import Runtime
from core.review.comparing import comparison, confusion, version_scores
from core.review.comparing.comparison import Difference, describe_coverage
from core.review.comparing.version_scores import HeldOut, VersionScores
from core.store import schema
from core.store.store import Store
from tests.support import held_out as support

pytestmark = pytest.mark.slow  # not in make check

RUNTIME = Runtime("cpu")


def held_out_of(names: Sequence[str], labels_: Sequence[int]) -> HeldOut:
    ids = np.arange(len(labels_), 0, -1)
    return HeldOut(tuple(names), ids.astype(np.int64), np.array(labels_, np.int32), len(labels_))


def scores_of(
    number: int,
    classes: Sequence[str],
    predicted: Sequence[int],
    probabilities: Sequence[float] = (),
    judged_by: str | None = "hold-out",
) -> VersionScores:
    probability_N = np.array(probabilities or [0.5] * len(predicted), np.float32)
    predicted_N = np.array(predicted, np.int32)
    return VersionScores(number, tuple(classes), judged_by, predicted_N, probability_N)


def note_of(held_out: HeldOut, found: Difference, scores: Sequence[VersionScores]) -> str | None:
    num_left_out = found.num_not_embedded
    return describe_coverage(held_out, found.overall.n, num_left_out, scores, "they are missing")


def test_difference_counts_each_class_and_lists_the_worst_flip_first() -> None:
    held_out = held_out_of(("cat", "dog"), [0, 0, 0, 1, 1])
    before = scores_of(1, ("cat", "dog"), [0, 0, 1, 1, 1], [0.9, 0.6, 0.4, 0.9, 0.9])
    after = scores_of(2, ("dog", "cat"), [0, 0, 1, 0, 0], [0.1, 0.4, 0.6, 0.9, 0.9])
    found = comparison.difference(held_out, before, after)
    assert (found.before, found.after, found.num_not_embedded) == (1, 2, 0)
    assert (found.overall.n, found.overall.b, found.overall.c) == (5, 1, 2)
    assert (found.overall.champion_accuracy, found.overall.challenger_accuracy) == (0.8, 0.6)
    cat, dog = found.by_class["cat"], found.by_class["dog"]
    assert (cat.n, cat.champion_right, cat.challenger_right) == (3, 2, 1)
    assert (dog.n, dog.change) == (2, 0.0)
    assert cat.low < cat.change < cat.high
    flips = [(flip.example_id, flip.is_mended, flip.after) for flip in found.flips]
    assert flips == [(5, False, "dog"), (4, False, "dog"), (3, True, "cat")]
    assert found.shown.names == ("cat", "dog")
    assert found.before_KK.tolist() == [[2, 1], [0, 2]]
    assert found.after_KK.tolist() == [[1, 2], [0, 2]]


def test_label_that_neither_version_knows_is_not_judged_and_spellings_are_one_class() -> None:
    held_out = held_out_of(("Cat", "fox"), [0, 1, 0])
    before, after = scores_of(1, ("cat", "dog"), [0, 0, 1]), scores_of(2, ("CAT",), [0, 0, 0])
    found = comparison.difference(held_out, before, after)
    assert (found.overall.n, found.overall.b, found.overall.c) == (2, 1, 0)
    assert found.shown.names == ("Cat", "dog")
    assert note_of(held_out, found, [before, after]) is None


def test_examples_without_an_embedding_are_counted() -> None:
    held_out = held_out_of(("cat", "fox"), [0, 0, 1])
    before, after = scores_of(1, ("cat",), [0, -1, -1]), scores_of(2, ("cat",), [0, 0, 0])
    found = comparison.difference(held_out, before, after)
    assert (found.overall.n, found.num_not_embedded) == (1, 1)
    note = note_of(held_out, found, [before, after])
    assert note == "1 held-out example is left out, as they are missing."
    assert not before.is_complete


def test_nothing_judged_says_why() -> None:
    nothing = held_out_of((), [])
    before = scores_of(1, ("cat",), [], judged_by=None)
    after = scores_of(2, ("cat",), [], judged_by="cross-validation")
    found = comparison.difference(nothing, before, after)
    assert (found.overall.n, found.by_class, found.flips, found.shown.names) == (0, {}, (), ())
    assert (found.overall.low, found.overall.high) == (-1.0, 1.0)
    note = note_of(nothing, found, [before, after])
    assert note is not None
    assert "one in five" in note
    assert "version 2 was judged by cross-validation" in note
    foxes = held_out_of(("fox",), [0])
    before, after = (scores_of(k, ("cat",), [0]) for k in (1, 2))
    found = comparison.difference(foxes, before, after)
    assert "has a class that is known" in str(note_of(foxes, found, [before, after]))


def test_rare_classes_share_a_bucket() -> None:
    num = confusion.MAX_SHOWN + 50
    names = [f"class {k:03}" for k in range(num)]
    # Class k has one example, and the last ones have two.
    given = [*range(num), *range(num - 100, num)]
    held_out = held_out_of(names, given)
    found = confusion.confusion(held_out, scores_of(1, names, [(k + 1) % num for k in given]))
    assert len(found.names) == confusion.MAX_SHOWN + 1
    assert (found.other, found.names[-1]) == (confusion.MAX_SHOWN, confusion.OTHER)
    assert set(found.names[:100]) == set(names[-100:])
    assert int(found.matrix_KK.sum()) == found.num_judged == len(given)
    assert found.matrix_KK.shape == (201, 201)
    assert found.matrix_KK[-1, -1] == 49
    assert (found.num_right, len(found.by_class)) == (0, num)


def test_confusion_of_a_version_is_right_on_the_diagonal() -> None:
    held_out = held_out_of(("cat", "dog", "fox"), [0, 0, 1, 2])
    found = confusion.confusion(held_out, scores_of(3, ("dog", "cat"), [1, 0, 0, 0]))
    assert (found.version, found.num_judged, found.num_right) == (3, 3, 2)
    assert found.names == ("cat", "dog")
    assert found.matrix_KK.tolist() == [[1, 1], [0, 1]]
    assert found.by_class == {"cat": (2, 1), "dog": (1, 1)}
    assert found.interval[0] < found.accuracy < found.interval[1]


def test_held_out_examples_are_the_newest_with_a_class(store: Store) -> None:
    support.add_examples(store, ["cat", "dog"], is_held_out=False, prefix="b")
    ids = support.add_examples(store, ["cat", NONE_OF_THESE, "dog", "None of  these", "cat"])
    with store.db.read() as conn:
        found = version_scores.read_held_out(conn)
        newest = version_scores.read_held_out(conn, limit=1)
        assert found.newest_label == labels.newest_id(conn)
    assert found.example_id_N.tolist() == [ids[4], ids[2], ids[0]]
    assert [found.names[k] for k in found.label_N] == ["cat", "dog", "cat"]
    assert newest.example_id_N.tolist() == [ids[4]]


def test_version_is_scored_from_stored_embeddings_by_its_head(store: Store) -> None:
    manifest = support.publish(store, ("cat", "dog"), metrics={"judged_by": "cross-validation"})
    ids = support.add_examples(store, ["cat", "dog", "fox", "dog"])
    support.embed(store, manifest.backbone, {ids[0]: 0, ids[1]: 0, ids[2]: 1})
    store.blobs.delete(manifest.backbone)  # it is not needed
    with store.db.read() as conn:
        held_out = version_scores.read_held_out(conn)
    progress: list[float] = []
    found = version_scores.score(
        store, manifest.version, held_out, RUNTIME, progress=progress.append
    )
    assert found.predicted_N.tolist() == [-1, 1, 0, 0]
    assert found.label_probability_N[3] > 0.9
    assert found.label_probability_N[2] < 0.1
    assert found.label_probability_N[:2].tolist() == [0.0, 0.0]
    assert (found.judged_by, progress[-1]) == ("cross-validation", 1.0)


def test_retired_version_is_scored_while_its_head_is_there(store: Store) -> None:
    manifest = support.publish(store, ("cat", "dog"))
    (example,) = support.add_examples(store, ["cat"])
    support.embed(store, manifest.backbone, {example: 0})
    with store.db.write() as conn:
        table = schema.versions
        conn.execute(update(table).where(table.c.number == 1).values(retired_at=5.0))
        held_out = version_scores.read_held_out(conn)
    assert version_scores.score(store, 1, held_out, RUNTIME).predicted_N.tolist() == [0]
    store.blobs.delete(manifest.head)
    with pytest.raises(VersionRetired, match="version 1 is retired"):
        version_scores.score(store, 1, held_out, RUNTIME)
    with pytest.raises(UnknownVersion, match="version 9"):
        version_scores.score(store, 9, held_out, RUNTIME)


def test_image_of_an_example_without_a_label_is_not_named(store: Store) -> None:
    first, second = support.add_examples(store, ["cat", "dog"])
    with store.db.write() as conn:
        labels.lock_order(conn)
        labels.append(conn, example_id=first, label=None, retracts=1, now=2.0)
    with store.db.read() as conn:
        assert comparison.images_of(conn, [first, second]).keys() == {second}
