"""A run from labels to champion in this process, on real images."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import Connection

from core import runs
from core.inputs.pixels import decoding as pixels
from core.labelling import labels, retractions
from core.models.backbones import Runtime
from core.models.manifest import Manifest
from core.models.servable import Servable, load
from core.registry import promotions, versions
from core.registry.versions import Version
from core.settings import Settings
from core.store.store import Store
from tests.training.digits_store import digits_of, finish, label, live, published, retrain
from training.gate import champions, evaluate
from training.recipe import Recipe
from training.worker.trainer import Trainer

# Slow: trains heads. Not in `make check`.
pytestmark = pytest.mark.slow


def test_labels_become_the_champion_with_their_classes(starter_store: Store, trainer: Trainer):
    label(starter_store, digits_of("three")[:10] + digits_of("seven")[:10])
    run = retrain(starter_store, trainer)
    assert (run.state, run.outcome, run.version) == ("finished", "promoted", 2), run
    version = live(starter_store)
    assert version.classes == ("seven", "three")
    assert version.snapshot == run.snapshot == 20
    assert version.parent == 1
    assert version.metrics["judged_by"] == "cross-validation"
    assert version.gate["reason"] == run.reason
    manifest = versions.read_manifest(version, starter_store)
    assert manifest.run_id == run.id
    assert manifest.recipe["head"] == {
        "num_folds": 5,
        "class_balance": 0.5,
        "target_precision": 0.9,
    }
    assert 0 <= manifest.parity < 1e-4


def test_hold_out_replaces_cross_validation_once_it_is_large_enough(
    labelled_store: Store, settings: Settings
):
    run = retrain(labelled_store, Trainer(labelled_store, Recipe(), settings))
    assert run.outcome == "promoted"
    metrics = live(labelled_store).metrics
    assert metrics["judged_by"] == "hold-out"
    assert metrics["num_judged"] == metrics["num_held_out"] >= 100
    assert metrics["accuracy"] > 0.85
    assert metrics["unfamiliar"]["num_references"] == metrics["num_trained"]
    assert 0 < metrics["unfamiliar"]["held_out_share"] < 0.15
    assert metrics["expected_calibration_error"] < 0.1


def test_new_class_joins_without_harming_the_others(starter_store: Store, trainer: Trainer):
    label(starter_store, digits_of("zero", "one")[:80])
    retrain(starter_store, trainer)
    label(starter_store, digits_of("four")[:1])
    retrain(starter_store, trainer)
    assert live(starter_store).classes == ("one", "zero")
    label(starter_store, digits_of("four")[1:20])
    run = retrain(starter_store, trainer)
    assert run.outcome == "promoted", run.reason
    version = live(starter_store)
    assert version.classes == ("four", "one", "zero")
    judged = version.metrics["classes"]
    assert all(judged[name]["right"] >= 0.8 * judged[name]["judged"] for name in judged)


def test_nonsense_labels_are_held_back_and_the_champion_stays(
    starter_store: Store, trainer: Trainer
):
    label(starter_store, digits_of("zero", "one", "two")[:300])
    assert retrain(starter_store, trainer).outcome == "promoted"
    good = live(starter_store).number
    rng = np.random.default_rng(0)
    names = np.array(["zero", "one", "two"])
    with starter_store.db.read() as conn:
        rows = labels.current(conn)
    now = time.time()
    with starter_store.db.write() as conn:
        for row in rows:
            if not row.is_held_out:
                labels.append(
                    conn, example_id=row.example_id, label=str(rng.choice(names)), now=now
                )
    run = retrain(starter_store, trainer)
    assert run.outcome == "held-back", run.reason
    assert live(starter_store).number == good
    kept = published(starter_store)[0]
    assert kept.number == run.version
    assert kept.gate["promote"] is False


def test_retracted_label_leaves_no_trace_in_the_next_version(
    starter_store: Store, trainer: Trainer, settings: Settings
):
    lesson = digits_of("two", "five")[:60]
    label(starter_store, lesson)
    with starter_store.db.read() as conn:
        clean = labels.current(conn)
    wrong = label(starter_store, digits_of("nine")[:12])
    retrain(starter_store, trainer)
    assert "nine" in live(starter_store).classes
    for taken in wrong:
        retractions.retract(starter_store, taken.event.id, who="test", now=time.time())
    with starter_store.db.read() as conn:
        assert labels.current(conn) == clean
    retrain(starter_store, trainer)
    after = published(starter_store)[0]
    assert after.classes == ("five", "two")

    # The same bits as a version that never saw them, at the same penalty.
    manifest = versions.read_manifest(after, starter_store)
    again = retrain(starter_store, trainer)
    with starter_store.db.read() as conn:
        repeated = versions.get(conn, again.version or 0)
    assert versions.read_manifest(repeated, starter_store).recipe == manifest.recipe
    assert repeated.head == after.head


def test_too_few_labels_fail_the_run_and_say_what_is_missing(
    starter_store: Store, trainer: Trainer
):
    label(starter_store, digits_of("two")[:5])
    run = retrain(starter_store, trainer)
    assert run.state == "failed"
    assert "another class" in (run.error or "")
    assert live(starter_store).number == 1


def test_cancelled_run_stops_before_it_publishes(
    starter_store: Store, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
):
    label(starter_store, digits_of("two", "five")[:20])
    with starter_store.db.write() as conn:
        run, _ = runs.request(conn, trigger="request", now=time.time())
    collect = evaluate.collect_evidence

    def cancel_then_collect(*args: object, **options: object) -> object:
        with starter_store.db.write() as conn:
            runs.cancel(conn, run.id, time.time())
        return collect(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate, "collect_evidence", cancel_then_collect)
    ended = finish(starter_store, trainer, run.id)
    assert ended.state == "cancelled"
    assert len(published(starter_store)) == 1


def test_retrains_without_new_labels_publish_the_same_head(starter_store: Store, trainer: Trainer):
    label(starter_store, digits_of("two", "five", "eight")[:60])
    first = retrain(starter_store, trainer)
    heads = set()
    for _ in range(3):
        run = retrain(starter_store, trainer)
        assert run.outcome == "promoted", run.reason
        heads.add(live(starter_store).head)
    assert len(heads) == 1
    assert first.version == 2


def test_published_version_predicts_as_it_was_judged(labelled_store: Store, settings: Settings):
    retrain(labelled_store, Trainer(labelled_store, Recipe(), settings))
    version = live(labelled_store)
    servable = load(
        versions.read_manifest(version, labelled_store), labelled_store.blobs, Runtime("cpu")
    )
    with labelled_store.db.read() as conn:
        held_out = [row for row in labels.current(conn) if row.is_held_out]
    spec = servable.manifest.input_spec
    right = 0
    for row in held_out:
        pixels_HWC = pixels.decode(labelled_store.blobs.get(row.image), spec)
        best = int(servable.predict(pixels_HWC[np.newaxis]).logits_BK[0].argmax())
        right += version.classes[best] == row.label
    # Embeddings are kept in half precision: one near-tie may fall the other way.
    assert abs(right / len(held_out) - version.metrics["accuracy"]) <= 1 / len(held_out) + 1e-9


def test_run_after_a_rollback_is_compared_with_the_restored_version(
    starter_store: Store, trainer: Trainer
):
    label(starter_store, digits_of("two", "five")[:30])
    retrain(starter_store, trainer)
    with starter_store.db.write() as conn:
        promotions.request(conn, 1, who="test", why="test", now=time.time())
        promotions.advance(conn, time.time())
    assert live(starter_store).number == 1
    run = retrain(starter_store, trainer)
    assert live(starter_store).number == run.version == 3
    assert live(starter_store).parent == 1


def test_trainer_loads_each_earlier_champion_once(
    starter_store: Store, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
):
    loaded: list[int] = []
    load_one = champions._load

    def counted(store: Store, runtime: Runtime, version: Version) -> Servable:
        loaded.append(version.number)
        return load_one(store, runtime, version)

    monkeypatch.setattr(champions, "_load", counted)
    examples = digits_of("three")[:20] + digits_of("seven")[:20]
    for i in range(1, 5):
        label(starter_store, examples[: 8 * i : 2] + examples[20 : 20 + 8 * i : 2])
        retrain(starter_store, trainer)
    assert sorted(loaded) == sorted(set(loaded))
    assert trainer._context.champions.keys() == set(loaded)


def test_publishing_takes_the_next_number_when_another_trainer_was_first(
    starter_store: Store, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
):
    under_next_number = versions.under_next_number
    others: list[int] = []

    def overtaken(conn: Connection, manifest: Manifest) -> Manifest:
        numbered = under_next_number(conn, manifest)
        if not others:
            others.append(numbered.version)
            other = replace(numbered, run_id=None)
            with starter_store.db.write() as writer:
                digest = starter_store.blobs.put(other.to_bytes())
                versions.add(writer, other, digest, {"promote": False, "reason": "a test"})
        return numbered

    monkeypatch.setattr(versions, "under_next_number", overtaken)
    label(starter_store, digits_of("two", "five")[:30])
    run = retrain(starter_store, trainer)
    assert others == [2]
    assert run.version == live(starter_store).number == 3
    assert live(starter_store).run_id == run.id
