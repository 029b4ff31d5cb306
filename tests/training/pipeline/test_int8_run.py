"""Runs that make an int8 version, and runs that start from one."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from core import leases, runs
from core.inputs.kind import Limits
from core.models.binding import bound_weights
from core.models.manifest import Manifest
from core.registry import versions
from core.runs import Run
from core.settings import Settings
from core.store.store import Store
from tests.training.digits_store import damaged_starter, digits_of, label, live, retrain
from training.backbones.backbone_ref import BackboneRef
from training.backbones.quantise import as_int8, labelled_photos
from training.pipeline.context import open_context
from training.pipeline.run import attempt
from training.recipe import BlocksRecipe, GatePolicy, PlannerPolicy, Recipe
from training.worker.trainer import Trainer

# Slow: quantises and tunes the starter. Not in `make check`.
pytestmark = pytest.mark.slow

# The result must not depend on the speed of the machine, nor at first on what rounding costs with
# so few digits.
ANYTHING_PASSES = GatePolicy(
    max_int8_latency_ratio=1000.0, margin=0.9, harm_alpha=0.0, harm_alpha_cross_validation=0.0
)
NOTHING_IS_FASTER = GatePolicy(max_int8_latency_ratio=0.0)
RECIPE = Recipe(
    planner=PlannerPolicy(is_automatic=False),
    # A digit in the mirror is another digit, or none.
    blocks=BlocksRecipe(flip=False, augment="none", batch_size=8),
    gate=ANYTHING_PASSES,
)


def run_of(store: Store, settings: Settings, recipe: Recipe, tier: str, wanted: object) -> Run:
    with store.db.write() as conn:
        runs.request(conn, trigger="request", now=time.time(), tier=tier, wanted=wanted)
        claimed = leases.claim(conn, "test", time.time(), runs.LONG)
    assert claimed is not None
    attempt(open_context(store, recipe, settings, "test"), claimed, lambda: False)
    with store.db.read() as conn:
        return runs.get(conn, claimed.id)


def to_int8(store: Store, settings: Settings, recipe: Recipe, candidate: BackboneRef) -> Run:
    """Do the run that `evergreen backbone use NAME --int8` requests."""
    photos_NHWC = labelled_photos(store, candidate.input_spec, Limits())
    wanted = {"backbone": as_int8(candidate, photos_NHWC, store.blobs)[0].to_json()}
    return run_of(store, settings, recipe, "backbone", wanted)


def manifest_of(store: Store) -> Manifest:
    return versions.read_manifest(live(store), store)


def test_int8_that_is_not_faster_is_held_back_and_says_so(
    starter_store: Store, settings: Settings
) -> None:
    label(starter_store, digits_of("three", "eight")[:60])
    candidate = BackboneRef.from_manifest(manifest_of(starter_store))
    recipe = replace(RECIPE, gate=NOTHING_IS_FASTER)
    run = to_int8(starter_store, settings, recipe, candidate)
    assert (run.state, run.outcome) == ("finished", "held-back"), run.error
    assert "times as long as float32 here, limit 0.00" in (run.reason or "")
    assert live(starter_store).number == 1


def test_heads_keep_an_int8_backbone_and_blocks_start_at_its_float32_weights(
    starter_store: Store, settings: Settings
) -> None:
    pytest.importorskip("torch", reason="the training extra is not installed")
    label(starter_store, digits_of("three", "eight", "one", "six")[:100])
    before = damaged_starter(starter_store)
    rounded = to_int8(starter_store, settings, RECIPE, before)
    assert rounded.outcome == "promoted", rounded.reason or rounded.error
    in_int8 = manifest_of(starter_store)
    assert in_int8.quantised_from == before.digest
    assert in_int8.metrics["precision"] == "int8"

    later = retrain(starter_store, Trainer(starter_store, RECIPE, settings))
    with starter_store.db.read() as conn:
        version = versions.get(conn, later.version or 0)
    head = versions.read_manifest(version, starter_store)
    assert (head.backbone, head.quantised_from) == (in_int8.backbone, before.digest)
    # Nothing was rounded anew, so nothing is timed.
    assert "int8" not in [check["name"] for check in version.gate["checks"]]

    tuned = run_of(starter_store, settings, RECIPE, "blocks", {"epochs": 4, "share": 0.2})
    assert tuned.version is not None, tuned.error or tuned.reason
    with starter_store.db.read() as conn:
        version = versions.get(conn, tuned.version)
    deeper = versions.read_manifest(version, starter_store)
    assert (deeper.precision, deeper.backbone_snapshot) == ("int8", 100)
    assert deeper.tuned_from == before.digest
    assert deeper.quantised_from not in (None, before.digest)
    old, new = (
        bound_weights(starter_store.blobs.get(digest))
        for digest in (before.digest, deeper.quantised_from or "")
    )
    assert (new["features.0.0.weight"] == old["features.0.0.weight"]).all()
    assert not (new["features.18.0.weight"] == old["features.18.0.weight"]).all()
