"""A second run of tier `blocks` keeps nothing of the first."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from core import leases, runs
from core.labelling import retractions
from core.models.manifest import Manifest
from core.registry import versions
from core.runs import Run
from core.settings import Settings
from core.store.store import Store
from tests.training.digits_store import damaged_starter, digits_of, label, live, retrain
from training.backbones.backbone_ref import BackboneRef
from training.pipeline.context import open_context
from training.pipeline.run import attempt
from training.recipe import BlocksRecipe, GatePolicy, PlannerPolicy, Recipe
from training.worker.planner_input import read_planner_input
from training.worker.trainer import Trainer

torch = pytest.importorskip("torch")

from tests.training.backbones.tiny_backbone import photos, probe, tiny_backbone  # noqa: E402
from training.blocks.images.inputs import PixelInputs  # noqa: E402
from training.blocks.rows import digest  # noqa: E402

pytestmark = pytest.mark.training

# The tests ask where a run starts, not how good it becomes with so few digits.
RECIPE = Recipe(
    planner=PlannerPolicy(is_automatic=False),
    blocks=BlocksRecipe(flip=False, augment="none", batch_size=8),
    gate=GatePolicy(margin=0.9, harm_alpha=0.0, harm_alpha_cross_validation=0.0),
)
QUICKLY = {"epochs": 8, "share": 0.2}
LESSON = digits_of("three", "eight", "one", "six")[:100]


def run_of(store: Store, settings: Settings, tier: str, wanted: object) -> Run:
    with store.db.write() as conn:
        runs.request(conn, trigger="request", now=time.time(), tier=tier, wanted=wanted)
        claimed = leases.claim(conn, "test", time.time(), runs.LONG)
    assert claimed is not None
    attempt(open_context(store, RECIPE, settings, "test"), claimed, lambda: False)
    with store.db.read() as conn:
        return runs.get(conn, claimed.id)


def champion_of(store: Store) -> Manifest:
    return versions.read_manifest(live(store), store)


def after(store: Store, settings: Settings, tier: str, wanted: object) -> Manifest:
    run = run_of(store, settings, tier, wanted)
    assert run.outcome == "promoted", run.reason or run.error
    return champion_of(store)


@pytest.fixture
def pretrained(starter_store: Store, settings: Settings) -> Manifest:
    """The champion is on a backbone that tuning makes better; 100 digits are labelled."""
    label(starter_store, LESSON)
    wanted = {"backbone": damaged_starter(starter_store).to_json()}
    return after(starter_store, settings, "backbone", wanted)


def test_retracted_labels_leave_no_trace_in_a_backbone_that_is_tuned_again(
    starter_store: Store, settings: Settings, pretrained: Manifest
) -> None:
    assert pretrained.tuned_from is None
    first = after(starter_store, settings, "blocks", QUICKLY)
    assert first.tuned_from == pretrained.backbone != first.backbone

    wrong = label(starter_store, [replace(digit, label="eight") for digit in LESSON[:10]])
    misled = after(starter_store, settings, "blocks", QUICKLY)
    assert misled.tuned_from == pretrained.backbone
    assert misled.backbone != first.backbone
    for taken in wrong:
        retractions.retract(starter_store, taken.event.id, who="test", now=time.time())

    again = after(starter_store, settings, "blocks", QUICKLY)
    assert (again.backbone, again.tuned_from) == (first.backbone, pretrained.backbone)
    assert again.backbone_snapshot > misled.backbone_snapshot > first.backbone_snapshot

    # Later heads record it too. Another backbone was tuned from nothing.
    assert read_planner_input(starter_store).is_tuned
    retrain(starter_store, Trainer(starter_store, RECIPE, settings))
    head = champion_of(starter_store)
    assert (head.tier, head.backbone) == ("head", first.backbone)
    assert head.tuned_from == pretrained.backbone
    with starter_store.db.read() as conn:
        bundled = versions.read_manifest(versions.get(conn, 1), starter_store)
    wanted = {"backbone": BackboneRef.from_manifest(bundled).to_json()}
    assert after(starter_store, settings, "backbone", wanted).tuned_from is None
    assert not read_planner_input(starter_store).is_tuned


def test_run_without_the_pretrained_backbone_continues_from_the_tuned_one_and_says_so(
    starter_store: Store,
    settings: Settings,
    pretrained: Manifest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = after(starter_store, settings, "blocks", QUICKLY)
    starter_store.blobs.delete(pretrained.backbone)
    run = run_of(starter_store, settings, "blocks", QUICKLY | {"epochs": 1})
    assert run.state == "finished", run.error
    (said,) = [r for r in caplog.records if r.getMessage() == "backbone.not_pretrained"]
    assert pretrained.backbone in vars(said)["reason"]
    if run.version is None:
        assert "better than the champion's backbone" in (run.reason or "")
    assert champion_of(starter_store).tuned_from == first.tuned_from == pretrained.backbone


def test_checkpoint_depends_on_the_weights_where_a_run_starts() -> None:
    pixels_NHWC, y_N = photos(12)
    is_held_out_N = np.arange(12) >= 9
    pretrained, present = tiny_backbone(), tiny_backbone()
    head = probe(pretrained, pixels_NHWC, y_N)

    def checkpoint(backbone: object) -> str:
        return digest(
            backbone, head, PixelInputs(pixels_NHWC), y_N, is_held_out_N, RECIPE.blocks, 0
        )

    assert checkpoint(present) == checkpoint(pretrained)
    with torch.no_grad():
        next(present.parameters())[0] += 0.01
    assert checkpoint(present) != checkpoint(pretrained)
