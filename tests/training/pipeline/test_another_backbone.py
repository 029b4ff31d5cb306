"""A run that brings another backbone goes through the gate like any other."""

from __future__ import annotations

import time

import pytest

from core import leases, runs
from core.models import starter
from core.models.backbones import Runtime
from core.models.servable import load
from core.registry import activations
from core.registry.versions import read_manifest
from core.store.store import Store
from tests.support import tiny
from tests.training.digits_store import label, live, of, published, retrain
from training.backbones.backbone_ref import BackboneRef
from training.pipeline.attempt import attempt
from training.pipeline.context import open_workshop
from training.pipeline.export import latency_ratio
from training.recipe import Recipe
from training.worker.trainer import Trainer

# Trains for real, again and again: not in `make check`.
pytestmark = pytest.mark.slow


def use(store: Store, settings, candidate: BackboneRef) -> runs.Run:
    """What `evergreen backbone use` asks for, done here."""
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
    attempt(open_workshop(store, Recipe(), settings, "test"), claimed, lambda: False)
    with store.db.read() as conn:
        return runs.get(conn, run.id)


def colours(store: Store) -> BackboneRef:
    """A backbone that sees no more than the mean colour."""
    digest = store.blobs.put(tiny.backbone_onnx())
    return BackboneRef("tiny", digest, tiny.SPEC, tiny.EMBEDDING_SIZE)


def the_starter(store: Store) -> BackboneRef:
    digest = store.blobs.put(starter.backbone_onnx())
    return BackboneRef("starter", digest, starter.pixel_spec(), 960)


def test_a_worse_backbone_is_held_back(school_store: Store, trainer: Trainer, settings) -> None:
    label(school_store, of("three", "eight", "one")[:90])
    good = retrain(school_store, trainer)
    run = use(school_store, settings, colours(school_store))
    assert (run.state, run.outcome) == ("finished", "held-back"), run
    assert live(school_store).number == good.version
    assert published(school_store)[0].backbone != live(school_store).backbone


def test_a_better_backbone_becomes_champion_and_later_heads_stay_on_it(
    school_store: Store, trainer: Trainer, settings
) -> None:
    label(school_store, of("three", "eight", "one")[:90])
    first = use(school_store, settings, colours(school_store))
    assert first.outcome == "promoted", first.reason  # the starter knew none of the classes
    run = use(school_store, settings, the_starter(school_store))
    assert run.outcome == "promoted", run.reason
    version = live(school_store)
    assert version.number == run.version == 3
    after = retrain(school_store, trainer)
    assert after.outcome == "promoted", after.reason
    assert live(school_store).backbone == version.backbone
    forms = [read_manifest(v, school_store.blobs).optimised for v in published(school_store)]
    newest, of_starter, of_colours, _ = forms
    assert newest == of_starter != of_colours
    with school_store.db.read() as conn:
        assert [a.version for a in activations.history(conn, 10)] == [4, 3, 2, 1]


def test_a_trainer_lets_go_of_champions_of_another_backbone(
    school_store: Store, trainer: Trainer, settings
) -> None:
    label(school_store, of("three", "eight", "one")[:60])
    assert use(school_store, settings, colours(school_store)).outcome == "promoted"
    retrain(school_store, trainer)
    kept = trainer._shop.champions
    small = live(school_store).backbone
    assert small in {answers.servable.backbone.digest for answers in kept.values()}
    assert use(school_store, settings, the_starter(school_store)).outcome == "promoted"
    retrain(school_store, trainer)
    digests = {answers.servable.backbone.digest for answers in kept.values()}
    assert digests == {live(school_store).backbone}


def test_latency_is_measured_between_backbones_and_is_one_on_the_same(
    school_store: Store,
) -> None:
    runtime = Runtime("cpu")
    small = load(tiny.make_manifest(school_store.blobs), school_store.blobs, runtime)
    large = load(read_manifest(live(school_store), school_store.blobs), school_store.blobs, runtime)
    assert latency_ratio(small, small) == 1.0
    assert latency_ratio(large, small) > 1.0
