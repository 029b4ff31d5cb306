"""What was erased trains no version: not the next one, and not one whose run is under way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from core import runs
from core.erasure.erase import Eraser
from core.models.pretrained import starter
from core.registry.bootstrap import ensure_first_version
from core.retention.policy import RetentionPolicy
from core.review import lineage
from core.settings import Settings
from core.store.store import Store, open_store
from tests.support.digits import Digit
from tests.training.digits_store import digits_of, label, live, published, retrain
from training.pipeline import run as pipeline
from training.recipe import Recipe
from training.worker.trainer import Trainer

# Slow: trains heads. Not in `make check`.
pytestmark = pytest.mark.slow

_PAIRS = zip(digits_of("three")[:15], digits_of("seven")[:15], strict=True)
PHOTOS = [photo for pair in _PAIRS for photo in pair]
ERASED = 12


@pytest.fixture
def other_store(tmp_path: Path) -> Iterator[Store]:
    """A home that never sees the example."""
    store = open_store(Settings(home=tmp_path / "other", device="cpu"))
    ensure_first_version(store, starter.NAME)
    yield store
    store.db.close()


def erase(store: Store, settings: Settings, example_id: int = ERASED + 1) -> None:
    eraser = Eraser(store, RetentionPolicy(), settings.home / "cache", lambda image: 0)
    eraser.erase_example(example_id, "bob")


def train_on(store: Store, settings: Settings, photos: Sequence[Digit]) -> Trainer:
    trainer = Trainer(store, Recipe(), settings)
    label(store, photos)
    assert retrain(store, trainer).outcome == "promoted"
    return trainer


def test_next_head_equals_that_of_a_home_that_never_saw_it(
    starter_store: Store, other_store: Store, settings: Settings, tmp_path: Path
) -> None:
    trainer = train_on(starter_store, settings, PHOTOS)
    saw = live(starter_store).head
    erase(starter_store, settings)
    assert retrain(starter_store, trainer).state == "finished"
    without = PHOTOS[:ERASED] + PHOTOS[ERASED + 1 :]
    train_on(other_store, Settings(home=tmp_path / "other", device="cpu"), without)
    newest = published(starter_store)[0]
    assert newest.number == 3
    assert newest.head == live(other_store).head != saw
    with starter_store.db.read() as conn:
        assert lineage.sights_of(conn, ERASED + 1, limit=9) == []


def test_run_that_saw_it_is_done_again(
    starter_store: Store, trainer: Trainer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(starter_store, PHOTOS)
    publish, calls = pipeline.publish, []

    def erase_first(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            erase(starter_store, settings)
        return publish(*args)

    monkeypatch.setattr(pipeline, "publish", erase_first)
    run = retrain(starter_store, trainer)
    assert (run.outcome, run.attempts, len(calls)) == ("promoted", 1, 2)
    assert [version.number for version in published(starter_store)] == [2, 1]
    assert live(starter_store).snapshot == run.snapshot == len(PHOTOS) + 1
    with starter_store.db.read() as conn:
        assert runs.unfinished(conn) == []
