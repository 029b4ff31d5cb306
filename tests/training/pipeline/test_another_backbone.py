"""A run that brings another backbone goes through the gate like any other."""

from __future__ import annotations

import time

import pytest

from core import leases, runs
from core.models.backbones import Runtime
from core.models.pretrained import starter
from core.models.servable import load
from core.registry import activations
from core.registry.versions import read_manifest
from core.store.store import Store
from tests.support import tiny
from tests.training.digits_store import digits_of, label, live, published, retrain
from training.backbones.backbone_ref import BackboneRef
from training.pipeline.context import open_context
from training.pipeline.export import latency_ratio
from training.pipeline.run import attempt
from training.recipe import Recipe
from training.worker.trainer import Trainer

# Slow: trains heads. Not in `make check`.
pytestmark = pytest.mark.slow


def use(store: Store, settings, candidate: BackboneRef) -> runs.Run:
    """Do the run that `evergreen backbone use` requests."""
    with store.db.write() as conn:
        run, _ = runs.request(
            conn,
            trigger="request",
            now=time.time(),
            tier="backbone",
            wanted={"backbone": candidate.to_json()},
        )
        claimed = leases.claim(conn, "test", time.time(), runs.LONG)
        assert claimed is not None
    attempt(open_context(store, Recipe(), settings, "test"), claimed, lambda: False)
    with store.db.read() as conn:
        return runs.get(conn, run.id)


def colours(store: Store) -> BackboneRef:
    """A backbone whose embedding is the mean colour."""
    digest = store.blobs.put(tiny.backbone_onnx())
    return BackboneRef("tiny", digest, tiny.SPEC, tiny.EMBEDDING_SIZE)


def the_starter(store: Store) -> BackboneRef:
    digest = store.blobs.put(starter.backbone_onnx())
    return BackboneRef("starter", digest, starter.pixel_spec(), 960)


def test_worse_backbone_is_held_back(starter_store: Store, trainer: Trainer, settings) -> None:
    label(starter_store, digits_of("three", "eight", "one")[:90])
    good = retrain(starter_store, trainer)
    run = use(starter_store, settings, colours(starter_store))
    assert (run.state, run.outcome) == ("finished", "held-back"), run
    assert live(starter_store).number == good.version
    assert published(starter_store)[0].backbone != live(starter_store).backbone


def test_better_backbone_becomes_champion_and_later_heads_keep_it(
    starter_store: Store, trainer: Trainer, settings
) -> None:
    label(starter_store, digits_of("three", "eight", "one")[:90])
    first = use(starter_store, settings, colours(starter_store))
    assert first.outcome == "promoted", first.reason  # the starter knew none of the classes
    run = use(starter_store, settings, the_starter(starter_store))
    assert run.outcome == "promoted", run.reason
    version = live(starter_store)
    assert version.number == run.version == 3
    after = retrain(starter_store, trainer)
    assert after.outcome == "promoted", after.reason
    assert live(starter_store).backbone == version.backbone
    with starter_store.db.read() as conn:
        assert [a.version for a in activations.history(conn, 10)] == [4, 3, 2, 1]


def test_trainer_unloads_champions_of_another_backbone(
    starter_store: Store, trainer: Trainer, settings
) -> None:
    label(starter_store, digits_of("three", "eight", "one")[:60])
    assert use(starter_store, settings, colours(starter_store)).outcome == "promoted"
    retrain(starter_store, trainer)
    kept = trainer._context.champions
    small = live(starter_store).backbone
    assert small in {answers.servable.backbone.digest for answers in kept.values()}
    assert use(starter_store, settings, the_starter(starter_store)).outcome == "promoted"
    retrain(starter_store, trainer)
    digests = {answers.servable.backbone.digest for answers in kept.values()}
    assert digests == {live(starter_store).backbone}


def test_latency_ratio_is_measured_between_backbones_and_is_one_on_the_same(
    starter_store: Store,
) -> None:
    runtime = Runtime("cpu")
    small = load(tiny.make_manifest(starter_store.blobs), starter_store.blobs, runtime)
    large = load(read_manifest(live(starter_store), starter_store), starter_store.blobs, runtime)
    assert latency_ratio(small, small) == 1.0
    assert latency_ratio(large, small) > 1.0
