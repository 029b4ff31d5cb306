"""A whole run of tier `blocks` in a home of texts, from labels to the champion."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from core import leases, runs
from core.models.backbones import Runtime
from core.registry import versions
from core.runs import Run
from core.settings import Settings
from core.store.store import Store
from tests.training.digits_store import live, retrain
from training.pipeline.context import open_context
from training.pipeline.run import attempt
from training.recipe import GatePolicy, PlannerPolicy, Recipe, TextBlocksRecipe, TextRecipe
from training.worker.trainer import Trainer

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = [pytest.mark.training, pytest.mark.slow]  # not in make check

RECIPE = Recipe(
    planner=PlannerPolicy(is_automatic=False),
    # Of so small an encoder, int8 gains no speed.
    gate=GatePolicy(min_holdout=40, max_latency_ratio=5.0, max_int8_latency_ratio=5.0),
    text=TextRecipe(TextBlocksRecipe(epochs=6, batch_size=16, lr=1e-2, head_lr=1e-2)),
)


def test_encoder_is_tuned_judged_exported_and_served(settings: Settings, tmp_path: Path) -> None:
    from tests.training import texts_store

    store = texts_store.open_text_store(settings)
    texts_store.label(store, texts_store.labelled_texts(270))
    trainer = Trainer(store, RECIPE, settings)
    first = retrain(store, trainer)
    before = live(store)
    assert before.number == first.version, first.reason
    run = _tune(store, settings)
    assert (run.state, run.outcome) == ("finished", "promoted"), (run.error, run.reason)
    after = live(store)
    assert after.number == run.version
    assert after.metrics["judged_by"] == "hold-out"
    assert after.metrics["accuracy"] > before.metrics["accuracy"]
    manifest = versions.read_manifest(after, store)
    assert (manifest.tier, manifest.backbone_name) == ("blocks", "folder/tiny-bert")
    assert manifest.tuned_from == versions.read_manifest(before, store).quantised_from
    assert manifest.precision == "int8"
    assert manifest.recipe["text"]["blocks"]["epochs"] == 6
    # It is served with the tokenizer that it was tuned with.
    backbone = Runtime("cpu").backbone(manifest.backbone, store.blobs)
    read = backbone.reader(manifest.input_spec).decode(b"the app is great").array
    assert read.tolist()[0] == 0
    assert backbone.embed(read[None]).shape == (1, manifest.embedding_size)
    assert not (settings.home / "cache" / "runs" / run.id).exists()
    store.db.close()


def _tune(store: Store, settings: Settings) -> Run:
    with store.db.write() as conn:
        runs.request(conn, trigger="request", now=time.time(), tier="blocks", wanted={})
        claimed = leases.claim(conn, "test", time.time(), runs.LONG)
    assert claimed is not None
    attempt(open_context(store, RECIPE, settings, "test"), claimed, lambda: False)
    with store.db.read() as conn:
        return runs.get(conn, claimed.id)
