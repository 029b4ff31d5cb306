"""What the trainer makes of renamed, merged and deleted classes, and of `none of these`."""

from __future__ import annotations

import time

import pytest

from core import runs
from core.inputs.kind import Limits
from core.labelling import batches, class_changes, intake
from core.labelling.label_request import LabelRequest
from core.settings import Settings
from core.store.store import Store
from tests.training.digits_store import digits_of, label, live, published
from training.recipe import Recipe, TriggerRecipe
from training.worker.trainer import Trainer

# Slow: trains heads. Not in `make check`.
pytestmark = pytest.mark.slow


@pytest.fixture
def taught(starter_store: Store, settings: Settings) -> Trainer:
    """A trainer whose champion knows two, five and seven."""
    recipe = Recipe(triggers=TriggerRecipe(after_labels=1, quiet_period_s=0, min_interval_s=0))
    trainer = Trainer(starter_store, recipe, settings)
    label(starter_store, [d for name in ("two", "five", "seven") for d in digits_of(name)[:14]])
    settle(trainer)
    assert live(starter_store).classes == ("five", "seven", "two")
    return trainer


def settle(trainer: Trainer) -> None:
    for _ in range(12):
        trainer.tick(time.time())


def num_runs(store: Store) -> int:
    with store.db.read() as conn:
        return len(runs.listing(conn, 100))


def test_champion_follows_each_change_of_a_class_and_its_undo(
    starter_store: Store, taught: Trainer
):
    store = starter_store

    def now() -> float:
        return time.time()

    renamed = class_changes.rename(store, "two", "Zwei", who="ann", now=now())
    settle(taught)
    assert live(store).classes == ("Zwei", "five", "seven")
    class_changes.merge(store, ["five", "seven"], "odd", who="ann", now=now())
    settle(taught)
    assert live(store).classes == ("Zwei", "odd")
    batches.undo(store, renamed.batch_id, who="ann", now=now())
    settle(taught)
    assert live(store).classes == ("odd", "two")
    respelled = class_changes.rename(store, "two", "TWO", who="ann", now=now())
    settle(taught)
    assert live(store).classes == ("TWO", "odd")
    batches.undo(store, respelled.batch_id, who="ann", now=now())
    settle(taught)
    assert live(store).classes == ("odd", "two")
    with store.db.read() as conn:
        ended = runs.listing(conn, 100)
    assert {run.outcome for run in ended} == {"promoted"}, [run.reason for run in ended]


def test_deleted_class_leaves_the_champion_and_comes_back(starter_store: Store, taught: Trainer):
    store = starter_store
    deleted = class_changes.delete(store, "seven", who="ann", now=time.time())
    settle(taught)
    assert live(store).classes == ("five", "two")
    batches.undo(store, deleted.batch_id, who="ann", now=time.time())
    settle(taught)
    assert live(store).classes == ("five", "seven", "two")
    before = num_runs(store)
    one, two = (
        class_changes.delete(store, name, who="ann", now=time.time()) for name in ("five", "two")
    )
    settle(taught)
    assert num_runs(store) == before, "one class is too few to train on"
    assert (one.changed, two.changed) == (14, 14)


def test_none_of_these_trains_no_class_and_starts_no_run_alone(
    starter_store: Store, taught: Trainer
):
    store = starter_store
    before = num_runs(store)
    eights = digits_of("eight")[:12]
    for digit in eights:
        request = LabelRequest("None of these")
        intake.label_image(store, digit.image, request, Limits(), time.time())
    settle(taught)
    assert num_runs(store) == before
    request = LabelRequest("none of these")
    intake.label_image(store, digits_of("two")[0].image, request, Limits(), time.time())
    settle(taught)
    assert num_runs(store) == before + 1
    newest = published(store)[0]
    assert newest.classes == ("five", "seven", "two")
    assert newest.metrics["num_trained"] + newest.metrics["num_held_out"] == 41
