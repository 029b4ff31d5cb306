"""A whole run of tier `blocks`: from labels through fine-tuning and the gate to the champion."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import leases, runs
from core.registry import versions
from core.runs import Run
from core.settings import Settings
from core.store.store import Store
from tests.training.digits_store import finish, live, retrain
from training.pipeline import progress as progress_module
from training.pipeline import run as run_module
from training.pipeline.context import RunContext, open_context
from training.pipeline.progress import Progress
from training.pipeline.run import attempt
from training.recipe import BlocksRecipe, PlannerPolicy, Recipe, TextBlocksRecipe
from training.worker.trainer import Trainer

pytest.importorskip("torch")
pytestmark = pytest.mark.training

QUICKLY = {"epochs": 6, "share": 0.45}


def claim_blocks(store: Store, wanted: dict[str, object]) -> Run:
    with store.db.write() as conn:
        runs.request(conn, trigger="request", now=time.time(), tier="blocks", wanted=wanted)
        claimed = leases.claim(conn, "test", time.time(), runs.LONG)
    assert claimed is not None
    return claimed


def test_plan_has_at_most_twice_the_epochs_of_the_recipe() -> None:
    from training.pipeline.tune_blocks import _apply_request  # which needs torch

    recipe = TextBlocksRecipe(epochs=5, depth=3)
    planned = {"epochs": 20, "share": 0.45, "reason": "few and different"}
    chosen = _apply_request(recipe, planned, num_blocks=13)
    assert (chosen.epochs, chosen.depth) == (10, 6)
    assert _apply_request(recipe, planned | {"epochs": 4}, num_blocks=13).epochs == 4
    assert _apply_request(recipe, {}, num_blocks=2) == replace(recipe, depth=2)


def test_blocks_are_tuned_judged_on_held_out_examples_and_served(
    labelled_store: Store, settings: Settings, idle_writers: set[bool]
) -> None:
    # A digit in the mirror is another digit, or none.
    recipe = Recipe(
        planner=PlannerPolicy(is_automatic=False),
        blocks=BlocksRecipe(flip=False, augment="light"),
    )
    trainer = Trainer(labelled_store, recipe, settings)
    retrain(labelled_store, trainer)
    before = live(labelled_store)
    claimed = claim_blocks(labelled_store, QUICKLY)
    attempt(open_context(labelled_store, recipe, settings, "test"), claimed, lambda: False)
    with labelled_store.db.read() as conn:
        run = runs.get(conn, claimed.id)
    assert run.state == "finished", run.error
    assert run.outcome == "promoted", run.reason
    epochs = run.parameters["epochs"]
    assert [each["epoch"] for each in epochs] == list(range(1, len(epochs) + 1))
    assert epochs[-1].keys() == {"epoch", "training", "held_out", "accuracy", "best"}
    after = live(labelled_store)
    assert after.number == run.version
    assert after.backbone != before.backbone
    assert after.metrics["judged_by"] == "hold-out"
    assert after.metrics["accuracy"] >= before.metrics["accuracy"] - 0.02
    manifest = versions.read_manifest(after, labelled_store)
    assert (manifest.tier, manifest.backbone_name) == ("blocks", "starter")
    assert manifest.backbone_snapshot == manifest.snapshot == 700
    assert not (settings.home / "cache" / "runs" / run.id).exists()
    assert idle_writers == {False}, "predictions would wait for an idle thread"
    # Later heads use the tuned backbone, and record on which labels it was tuned.
    later = retrain(labelled_store, trainer)
    with labelled_store.db.read() as conn:
        head = versions.get(conn, later.version or 0)
    assert head.backbone == after.backbone
    assert versions.read_manifest(head, labelled_store).backbone_snapshot == 700


def test_handed_back_blocks_run_keeps_its_snapshot_and_checkpoint(
    labelled_store: Store, settings: Settings
) -> None:
    claimed = claim_blocks(labelled_store, QUICKLY)
    context = open_context(labelled_store, Recipe(), settings, "test")
    # Stops as soon as there is something to keep, however fast the machine is.
    folder = context.cache / "runs" / claimed.id
    attempt(context, claimed, folder.exists)
    with labelled_store.db.read() as conn:
        handed = runs.get(conn, claimed.id)
    assert (handed.state, handed.snapshot) == ("waiting", 700)
    assert folder.exists()
    # Cancelled after all, it leaves nothing behind.
    with labelled_store.db.write() as conn:
        again = leases.claim(conn, "test", time.time(), runs.LONG)
        assert again is not None
        runs.cancel(conn, claimed.id, time.time())
    attempt(context, again, lambda: False)
    with labelled_store.db.read() as conn:
        assert runs.get(conn, claimed.id).state == "cancelled"
    assert not folder.exists()


def test_starved_blocks_run_continues_on_its_snapshot(
    labelled_store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = claim_blocks(labelled_store, QUICKLY)
    context = open_context(labelled_store, Recipe(), settings, "test")
    folder = context.cache / "runs" / claimed.id
    snapshots: list[int | None] = []
    train = run_module._train_challenger

    def noted_train(context: RunContext, run: Run, progress: Progress) -> Any:
        snapshots.append(run.snapshot)
        return train(context, run, progress)

    monkeypatch.setattr(run_module, "_train_challenger", noted_train)
    monkeypatch.setattr(
        progress_module, "is_starved", lambda: len(snapshots) == 1 and folder.exists()
    )
    attempt(context, claimed, lambda: len(snapshots) == 2)
    assert snapshots == [None, 700]
    with labelled_store.db.read() as conn:
        assert runs.get(conn, claimed.id).state == "waiting"


def test_planned_blocks_run_is_done_by_a_child_process(
    labelled_store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe_path = tmp_path / "recipe.toml"
    recipe_path.write_text("[blocks]\nminutes = 0.2\n")
    monkeypatch.setenv("EVERGREEN_HOME", str(settings.home))
    monkeypatch.setenv("EVERGREEN_RECIPE", str(recipe_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    policy = PlannerPolicy(
        solved_accuracy=1.0, similar_accuracy=1.0
    )  # digits are easy; plan blocks all the same
    trainer = Trainer(labelled_store, Recipe(planner=policy), settings)
    retrain(labelled_store, trainer)
    with labelled_store.db.read() as conn:
        (planned,) = [run for run in runs.unfinished(conn) if run.tier == "blocks"]
    assert planned.trigger == "plan"
    assert "different" in planned.parameters["wanted"]["reason"]
    # At idle priority: during other tests it may get little CPU time.
    ended = finish(labelled_store, trainer, planned.id, max_ticks=2000, pause_s=0.2)
    assert ended.state == "finished", ended.error
    trainer.close()
