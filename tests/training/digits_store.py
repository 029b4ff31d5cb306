"""Label digits in a store, and drive a trainer tick by tick."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Sequence

import numpy as np

from core import runs
from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.intake import IntakeResult, LabelRequest
from core.models.binding import bind_weights
from core.models.pretrained import starter
from core.registry import promotions, versions
from core.registry.versions import Version
from core.runs import Run
from core.store.store import Store
from tests.support.digits import Digit, digits
from training.backbones.backbone_ref import BackboneRef
from training.worker.trainer import Trainer


@functools.cache
def all_digits() -> list[Digit]:
    return digits()


def digits_of(*labels: str) -> list[Digit]:
    return [digit for digit in all_digits() if digit.label in labels]


def label(store: Store, photos: Iterable[Digit]) -> list[IntakeResult]:
    return [
        intake.label_image(store, digit.image, LabelRequest(digit.label), Limits(), time.time())
        for digit in photos
    ]


def retrain(store: Store, trainer: Trainer) -> Run:
    """Request a run, and let the trainer do it."""
    with store.db.write() as conn:
        run, _ = runs.request(conn, trigger="request", now=time.time())
    return finish(store, trainer, run.id)


def finish(
    store: Store, trainer: Trainer, run_id: str, max_ticks: int = 50, pause_s: float = 0.0
) -> Run:
    for _ in range(max_ticks):
        trainer.tick(time.time())
        with store.db.read() as conn:
            run = runs.get(conn, run_id)
        if run.is_finished:
            return run
        time.sleep(pause_s)
    raise AssertionError(f"the run did not end: {run}")


def live(store: Store) -> Version:
    with store.db.read() as conn:
        newest = promotions.newest_activation(conn)
        assert newest is not None
        return versions.get(conn, newest.version)


def damaged_starter(store: Store) -> BackboneRef:
    """The starter with noise in its last blocks, so that tuning them gains accuracy."""
    rng = np.random.default_rng(0)
    weights = starter.backbone_weights()
    for name, value in weights.items():
        if value.ndim == 4 and int(name.split(".")[1]) >= 12:
            weights[name] = value + rng.normal(0, 3 * value.std(), value.shape).astype(np.float32)
    graph = (starter.FILES / "backbone.graph.onnx").read_bytes()
    digest = store.blobs.put(bind_weights(graph, weights))
    return BackboneRef("starter", digest, starter.pixel_spec(), 960)


def published(store: Store) -> Sequence[Version]:
    with store.db.read() as conn:
        return versions.listing(conn, limit=1000)
