"""The first run in a home of texts, against a champion without classes or with zero-shot ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.errors import NoClasses
from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.models.backbones import Runtime
from core.models.servable import load
from core.registry import versions
from core.registry.bootstrap import ensure_first_version
from core.review.comparing import version_scores
from core.review.queue import pool
from core.settings import Settings
from core.store.store import Store, open_store
from service.inference.shadow_recorder import answers_of
from tests.training.digits_store import live, retrain
from training.recipe import Recipe
from training.worker.trainer import Trainer

pytestmark = pytest.mark.slow  # embeds texts and trains heads

SENTENCES = {
    "billing": (
        "I was charged twice for one order",
        "The invoice of last month has the wrong address",
        "Please refund the payment that you took in May",
        "Why did the price of my subscription go up?",
        "My credit card was debited though I had cancelled",
        "The receipt shows the wrong amount of tax",
        "Can I pay by bank transfer?",
        "The discount is missing from my bill",
    ),
    "bug": (
        "The app crashes when I open a report",
        "An error appears as soon as I save",
        "The page stays empty since the update",
        "The export fails after a minute",
        "The search freezes on my phone",
        "Dates are shown twice in the calendar",
        "Uploading a file ends with a failure",
        "The button does nothing when I click on it",
    ),
    "praise": (
        "Thank you, this saved us many hours",
        "My colleagues love it",
        "Your support was excellent and kind",
        "The best tool that I have ever used",
        "Wonderful work, keep it up",
        "I am very happy with it and recommend it to everyone",
        "So simple and so beautiful",
        "Great job, we enjoy every day with it",
    ),
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, input="text")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    store = open_store(settings)
    yield store
    store.db.close()


def label(store: Store, per_class: int) -> None:
    for number in range(per_class):
        for name, sentences in SENTENCES.items():
            text = sentences[number]
            intake.label_image(store, text.encode(), LabelRequest(name), Limits(), time.time())


def first_version(store: Store) -> versions.Version:
    with store.db.read() as conn:
        return versions.get(conn, 1)


@pytest.mark.parametrize("names", [(), ("billing", "bug"), ("sport", "politics")])
def test_first_labels_become_the_champion(
    store: Store, settings: Settings, names: tuple[str, ...]
) -> None:
    ensure_first_version(store, classes=names)
    label(store, 8)
    run = retrain(store, Trainer(store, Recipe(), settings))
    assert (run.outcome, run.version) == ("promoted", 2), run.reason
    version = live(store)
    assert version.classes == ("billing", "bug", "praise")
    assert "zero_shot" not in version.metrics
    assert version.metrics["precision"] == "int8"
    assert version.metrics["accuracy"] > 0.8


def test_version_without_classes_is_compared_with_none_and_answers_as_no_shadow(
    store: Store,
) -> None:
    ensure_first_version(store)
    label(store, 2)
    with store.db.read() as conn:
        held_out = version_scores.read_held_out(conn)
    runtime = Runtime("cpu")
    with pytest.raises(NoClasses, match="compare versions that predict"):
        version_scores.score(store, 1, held_out, runtime)
    manifest = versions.read_manifest(first_version(store), store)
    servable = load(manifest, store.blobs, runtime)
    with store.db.read() as conn:
        scores = pool.score(pool.read_pool(conn, servable), servable)
    assert len(scores.class_N) == 0
    later = SimpleNamespace(
        version=2, backbone=servable.backbone, manifest=replace(manifest, version=2)
    )
    primary: Any = SimpleNamespace(servable=later, embedding_D=np.zeros(384, np.float32))
    assert list(answers_of([servable], [primary])) == []
