from __future__ import annotations

import pytest

from core.labelling import labels
from core.models.backbones import Runtime
from core.review.comparing import comparison, version_scores
from core.review.comparing.comparison import Difference
from core.settings import Settings
from core.store.store import Store
from tests.training.digits_store import digits_of, label, retrain
from training.recipe import Recipe
from training.worker.trainer import Trainer

# Slow: trains heads. Not in `make check`.
pytestmark = pytest.mark.slow


def difference(store: Store, before: int, after: int) -> Difference:
    with store.db.read() as conn:
        held_out = version_scores.read_held_out(conn)
    old, new = (
        version_scores.score(store, number, held_out, Runtime("cpu")) for number in (before, after)
    )
    return comparison.difference(held_out, old, new)


def test_version_does_not_differ_from_itself(labelled_store: Store, settings: Settings) -> None:
    retrain(labelled_store, Trainer(labelled_store, Recipe(), settings))
    found = difference(labelled_store, 2, 2)
    assert (found.flips, found.num_not_embedded) == ((), 0)
    assert found.overall.change == 0
    assert found.overall.n >= 100


def test_starter_and_trained_version_differ_in_every_class(
    labelled_store: Store, settings: Settings
) -> None:
    retrain(labelled_store, Trainer(labelled_store, Recipe(), settings))
    found = difference(labelled_store, 1, 2)
    assert found.overall.champion_accuracy == 0
    assert found.overall.low > 0.5
    assert len(found.by_class) == 10
    assert sum(pair.n for pair in found.by_class.values()) == found.overall.n
    assert len(found.flips) == found.overall.b
    assert all(flip.is_mended and flip.after == flip.label for flip in found.flips)
    with labelled_store.db.read() as conn:
        held_out = {row.example_id for row in labels.current(conn) if row.is_held_out}
    assert {flip.example_id for flip in found.flips} <= held_out


def test_difference_without_held_out_examples_judges_nothing(
    starter_store: Store, trainer: Trainer
) -> None:
    label(starter_store, digits_of("two")[:2] + digits_of("five")[:2])
    retrain(starter_store, trainer)
    assert difference(starter_store, 1, 2).overall.n == 0
