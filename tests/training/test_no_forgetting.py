"""Classes that arrive later take nothing from those that came before.

N images, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.digits import Digit
from core import labels, pixels, training_data, versions
from core.bootstrap import ensure_first_version
from core.manifest import Manifest
from core.pixels import Limits
from core.servable import Runtime, load
from core.settings import Settings
from core.store import Store, open_store
from tests.training.school import label, live, of, retrain
from training.dataset import Dataset, assemble
from training.embed import embed
from training.fit_head import Penalty, fit_head
from training.recipe import Recipe
from training.worker import Trainer

ORDER = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
AT_A_TIME = 2
LABELS_A_CLASS = 30
JUDGES_A_CLASS = 40

FORGOTTEN = 0.005  # of accuracy: half a point, as the project promises
CROWDED_OUT = 0.05  # of an old class's recall: two new rivals, not forgetting, take that at times
ROUND_OFF = 1e-5  # of a logit: onnxruntime multiplies in another order than numpy


@dataclass(frozen=True)
class Step:
    """What the champion knows after some classes have arrived."""

    classes: tuple[str, ...]
    manifest: Manifest
    logits_NK: NDArray[np.float32]  # of all judges
    # The same from a head fitted to everything labelled by then at once.
    at_once_NK: NDArray[np.float32]
    # And with the penalty of the champion's run.
    same_penalty_NK: NDArray[np.float32]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> list[Step]:
    settings = Settings(home=tmp_path_factory.mktemp("stream"), provider="cpu", workers=1)
    store = open_store(settings)
    ensure_first_version(store)
    trainer = Trainer(store, Recipe(), settings)
    steps = []
    for start in range(0, len(ORDER), AT_A_TIME):
        for name in ORDER[start : start + AT_A_TIME]:
            label(store, of(name)[:LABELS_A_CLASS])
        run = retrain(store, trainer)
        assert run.outcome == "promoted", run
        steps.append(_step(store, ORDER[: start + AT_A_TIME]))
    store.db.close()
    return steps


def _step(store: Store, classes: tuple[str, ...]) -> Step:
    manifest = versions.read_manifest(live(store), store.blobs)
    servable = load(manifest, store.blobs, Runtime(provider="cpu"))
    scores = servable.predict(_judges(manifest))
    with store.db.read() as conn:
        rows = labels.current(conn)
    vectors = embed(store, servable.backbone, manifest.pixels, rows, Limits())
    training = assemble(rows, vectors, training_data.census(rows).classes).training
    penalty = Penalty(**manifest.recipe["penalty"])
    return Step(
        classes,
        manifest,
        scores.logits_BK,
        _fit(training, None, scores.embedding_BD),
        _fit(training, penalty, scores.embedding_BD),
    )
