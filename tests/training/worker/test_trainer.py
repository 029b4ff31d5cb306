"""The trainer: when it works, which runs it requests, and what happens to a run that it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from core import leases, runs
from core.errors import StoreError
from core.labelling import labels
from core.registry import promotions
from core.registry.wait import PromotionResult
from core.settings import Settings
from core.store.database import Database
from core.store.store import Store
from tests.training.digits_store import digits_of, finish, label, live, published, retrain
from training.gate import rules
from training.pipeline import publish as publish_module
from training.pipeline import run as run_module
from training.recipe import Recipe, TriggerRecipe
from training.worker.trainer import Trainer

# Slow: trains heads. Not in `make check`.
pytestmark = pytest.mark.slow


def test_crash_in_a_run_fails_it_and_the_trainer_continues(
    starter_store: Store, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
):
    label(starter_store, digits_of("two", "five")[:20])
    with monkeypatch.context() as patched:
        patched.setattr(rules, "decide", lambda *_: 1 / 0)
        run = retrain(starter_store, trainer)
    assert run.state == "failed"
    assert "ZeroDivisionError" in (run.error or "")
    assert retrain(starter_store, trainer).outcome == "promoted"


def test_stopped_trainer_hands_its_run_back(
    starter_store: Store, trainer: Trainer, settings: Settings
):
    label(starter_store, digits_of("two", "five")[:20])
    with starter_store.db.write() as conn:
        run, _ = runs.request(conn, trigger="request", now=time.time())
    trainer.stop()
    trainer.tick(time.time())
    with starter_store.db.read() as conn:
        handed = runs.get(conn, run.id)
    assert (handed.state, handed.attempts) == ("waiting", 0)
    assert finish(starter_store, Trainer(starter_store, Recipe(), settings), run.id).version == 2


def test_run_whose_trainer_died_after_publishing_publishes_nothing_twice(
    starter_store: Store, trainer: Trainer, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    label(starter_store, digits_of("two", "five")[:20])
    with starter_store.db.write() as conn:
        run, _ = runs.request(conn, trigger="request", now=time.time())

    def die(*_: object) -> None:
        raise StoreError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "promote", die)
        with pytest.raises(StoreError):
            trainer.tick(time.time())
    assert len(published(starter_store)) == 2
    later = time.time() + leases.LEASE_S + 1
    other = Trainer(starter_store, Recipe(), settings)
    with starter_store.db.write() as conn:
        taken = leases.claim(conn, "nobody", later)
        assert taken is not None
        assert taken.id == run.id
        leases.hand_back(conn, run.id, "nobody", later)
    ended = finish(starter_store, other, run.id)
    assert (ended.outcome, ended.version) == ("promoted", 2)
    assert len(published(starter_store)) == 2


def test_run_follows_another_request_for_its_version(
    starter_store: Store, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
):
    label(starter_store, digits_of("two", "five")[:20])
    wait = publish_module.wait_for_promotion

    def overtaken(
        db: Database, promotion_id: int, meanwhile: Callable[[], None], wait_s: float
    ) -> PromotionResult:
        monkeypatch.undo()
        promote(starter_store, 2, time.time())
        assert state_of(starter_store, promotion_id) == "superseded"
        return wait(db, promotion_id, meanwhile, wait_s=wait_s)

    monkeypatch.setattr(publish_module, "wait_for_promotion", overtaken)
    assert retrain(starter_store, trainer).outcome == "promoted"
    assert live(starter_store).number == 2


def test_new_labels_start_a_run_without_a_request(starter_store: Store, settings: Settings):
    recipe = Recipe(triggers=TriggerRecipe(after_labels=15, quiet_period_s=0, every_s=0))
    trainer = Trainer(starter_store, recipe, settings)
    label(starter_store, digits_of("two", "five")[:14])
    for _ in range(5):
        trainer.tick(time.time())
    assert live(starter_store).number == 1
    label(starter_store, digits_of("two", "five")[14:15])
    for _ in range(10):
        trainer.tick(time.time())
    assert live(starter_store).number == 2
    with starter_store.db.read() as conn:
        assert [run.trigger for run in runs.listing(conn, 10)] == ["labels"]


def test_first_label_after_a_pause_starts_a_run_at_once(starter_store: Store, trainer: Trainer):
    label(starter_store, digits_of("two", "five")[:20])
    trainer.tick(time.time())
    with starter_store.db.read() as conn:
        (first,) = runs.listing(conn, 10)
    assert first.finished_at is not None
    label(starter_store, digits_of("two", "five")[20:24])
    rest_s = Recipe().triggers.min_interval_s
    trainer.tick(first.finished_at + 0.5 * rest_s)
    assert number_of_runs(starter_store) == 1, "labels of a steady stream share a run"
    trainer.tick(first.finished_at + rest_s + 1e-3)
    assert number_of_runs(starter_store) == 2


def test_first_label_of_a_class_starts_no_run(starter_store: Store, trainer: Trainer):
    label(starter_store, digits_of("two", "five")[:20])
    trainer.tick(time.time())
    label(starter_store, digits_of("seven")[:1])
    for after_s in (1.0, 2.0, 4000.0):
        trainer.tick(time.time() + after_s)
    assert number_of_runs(starter_store) == 1
    label(starter_store, digits_of("seven")[1:8])
    trainer.tick(time.time() + 4001.0)
    assert number_of_runs(starter_store) == 2


def number_of_runs(store: Store) -> int:
    with store.db.read() as conn:
        return len(runs.listing(conn, 10))


def test_trainer_wakes_when_a_trigger_fires(starter_store: Store, settings: Settings):
    recipe = Recipe(triggers=TriggerRecipe(after_labels=0))
    trainer = Trainer(starter_store, recipe, settings)
    trainer.tick(time.time())
    tick_s = trainer.pause_s(time.time())
    label(starter_store, digits_of("two", "five")[:6])
    with starter_store.db.read() as conn:
        _, _, newest_at = labels.count_after(conn, 0)
    assert newest_at is not None
    due_at = newest_at + Recipe().triggers.quiet_period_s
    for before_s in (2 * tick_s, 0.3 * tick_s):
        trainer.tick(due_at - before_s)
        assert trainer.pause_s(due_at - before_s) == pytest.approx(min(tick_s, before_s), abs=1e-3)
    trainer.tick(due_at + 1e-3)
    assert live(starter_store).number == 2
    assert trainer.pause_s(due_at + 1.0) == tick_s, "nothing is new"


def test_clock_that_is_set_back_silences_no_trigger(starter_store: Store, settings: Settings):
    trainer = Trainer(starter_store, Recipe(triggers=TriggerRecipe(after_labels=0)), settings)
    label(starter_store, digits_of("two", "five")[:6])
    trainer.tick(time.time())  # the quiet period has not passed
    assert live(starter_store).number == 1
    for _ in range(20):
        trainer.tick(time.time() - 3600)
    assert live(starter_store).number == 2


def test_idle_trainer_works_on_changes_and_every_half_second(
    starter_store: Store, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
):
    worked_at: list[float] = []
    work = trainer._work

    def counted(now: float) -> bool:
        worked_at.append(now)
        return work(now)

    monkeypatch.setattr(trainer, "_work", counted)
    now = time.time()
    for after_s in (0.0, 0.1, 0.2, 0.6):
        trainer.tick(now + after_s)
    assert worked_at == [now, now + 0.6], "the second time after half a second"
    label(starter_store, digits_of("two")[:1])
    for after_s in (0.7, 0.71, 0.8):
        trainer.tick(now + after_s)
    assert worked_at[2:] == [now + 0.7, now + 0.71], "the label was embedded, and then nothing new"
    with starter_store.db.write() as conn:
        runs.request(conn, trigger="request", now=now)
    trainer.tick(now + 0.9)
    assert worked_at[4:] == [now + 0.9]


def test_trainer_leaves_promotions_to_the_workers_for_half_a_second(
    starter_store: Store, trainer: Trainer
):
    now = time.time()
    trainer.tick(now)
    promotion_id = promote(starter_store, live(starter_store).number, now)
    trainer.tick(now + 0.1)
    assert state_of(starter_store, promotion_id) == "waiting"
    trainer.tick(now + 0.6)
    assert state_of(starter_store, promotion_id) == "activated", "there is no worker"


def promote(store: Store, version: int, now: float) -> int:
    with store.db.write() as conn:
        return promotions.request(conn, version, who="test", why="", now=now).id


def state_of(store: Store, promotion_id: int) -> str:
    with store.db.read() as conn:
        return promotions.promotion(conn, promotion_id).state


def test_one_class_alone_starts_no_run(starter_store: Store, settings: Settings):
    recipe = Recipe(triggers=TriggerRecipe(after_labels=5, quiet_period_s=0))
    trainer = Trainer(starter_store, recipe, settings)
    label(starter_store, digits_of("two")[:10])
    for _ in range(5):
        trainer.tick(time.time())
    with starter_store.db.read() as conn:
        assert runs.listing(conn, 10) == []
