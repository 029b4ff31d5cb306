"""Later classes take nothing from earlier ones.

N images, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from core.inputs.kind import Limits
from core.inputs.pixels import decoding as pixels
from core.labelling import labels
from core.labelling.census import take_census
from core.models.backbones import Runtime
from core.models.head_onnx import head_onnx
from core.models.servable import load
from core.registry import versions
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.store import Store, open_store
from tests.training.digits_store import digits_of, label, live, retrain
from training.dataset import assemble
from training.embeddings import embed
from training.head.fit import Penalty, fit_head
from training.head.head import Head
from training.recipe import HeadRecipe, Recipe
from training.worker.trainer import Trainer

# Slow: trains heads. Not in `make check`.
pytestmark = pytest.mark.slow

ORDER = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
AT_A_TIME = 2
LABELS_A_CLASS = 30
JUDGES_A_CLASS = 40

FORGOTTEN = 0.005  # of accuracy: half a point, as the project promises
CROWDED_OUT = 0.08  # of old classes' recall: what two new rivals take, however they are learnt


@dataclass(frozen=True)
class Step:
    """The champion after some classes have arrived, and what it is compared with."""

    classes: tuple[str, ...]
    head_onnx: bytes
    # From the labels alone and the champion's penalty, in one go.
    again_onnx: bytes
    # By class, of digits that are never labelled: of the champion, and of a head that is fitted to
    # all labels at once and chooses its own penalty.
    recall: dict[str, float]
    recall_at_once: dict[str, float]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> list[Step]:
    settings = Settings(home=tmp_path_factory.mktemp("stream"), device="cpu", workers=1)
    store = open_store(settings)
    ensure_first_version(store)
    trainer = Trainer(store, Recipe(), settings)
    steps = []
    judges: dict[str, NDArray[np.float32]] = {}
    for start in range(0, len(ORDER), AT_A_TIME):
        for name in ORDER[start : start + AT_A_TIME]:
            label(store, digits_of(name)[:LABELS_A_CLASS])
        run = retrain(store, trainer)
        assert run.outcome == "promoted", run
        steps.append(_step(store, ORDER[: start + AT_A_TIME], judges))
    store.db.close()
    return steps


def _step(store: Store, classes: tuple[str, ...], judges: dict[str, NDArray[np.float32]]) -> Step:
    """`judges` are embeddings by class, to which those of new classes are added."""
    version = live(store)
    manifest = versions.read_manifest(version, store)
    backbone = load(manifest, store.blobs, Runtime(provider="cpu")).backbone
    with store.db.read() as conn:
        rows = labels.current(conn)
    vectors = embed(store, backbone, manifest.input_spec, rows, Limits())
    training = assemble(rows, vectors, take_census(rows).classes).training
    score_all = version.metrics["judged_by"] == "cross-validation"
    penalty = Penalty(**manifest.recipe["penalty"])
    with threadpool_limits(1):  # as in a run; with more threads, sums are added in another order
        again = fit_head(training, HeadRecipe(), score_all=score_all, penalty=penalty).head
        at_once = fit_head(training, HeadRecipe(), score_all=score_all).head
    for name in classes[len(judges) :]:
        images = [digit.image for digit in digits_of(name)[-JUDGES_A_CLASS:]]
        judges[name] = backbone.embed(
            np.stack([pixels.decode(image, manifest.input_spec) for image in images])
        )
    x_ND = np.concatenate([judges[name] for name in classes])
    names = [name for name in classes for _ in range(JUDGES_A_CLASS)]
    return Step(
        classes,
        store.blobs.get(manifest.head),
        head_onnx(again.weights_DK, again.bias_K, again.temperature, of_unit_rms=True),
        _recall(again, x_ND, names),
        _recall(at_once, x_ND, names),
    )


def _recall(head: Head, x_ND: NDArray[np.float32], names: Sequence[str]) -> dict[str, float]:
    said = np.array(head.classes)[head.logits(x_ND).argmax(axis=1)]
    is_right_N = said == np.array(names)
    return {name: float(is_right_N[np.array(names) == name].mean()) for name in set(names)}


def _mean(recall: dict[str, float], classes: Sequence[str]) -> float:
    return float(np.mean([recall[name] for name in classes]))


def test_champion_equals_a_head_trained_on_all_its_labels_to_the_bit(stream: list[Step]):
    for step in stream:
        assert step.head_onnx == step.again_onnx, step.classes


def test_stream_of_classes_ends_where_training_on_all_of_them_does(stream: list[Step]):
    last = stream[-1]
    assert last.classes == ORDER
    assert _mean(last.recall, ORDER) > 0.8
    assert abs(_mean(last.recall, ORDER) - _mean(last.recall_at_once, ORDER)) <= FORGOTTEN


def test_earlier_classes_keep_their_recall_as_others_arrive(stream: list[Step]):
    for before, after in pairwise(stream):
        old = before.classes
        at_once = _mean(after.recall_at_once, old)
        assert _mean(after.recall, old) >= at_once - FORGOTTEN, (old, after.recall)
        assert _mean(after.recall, old) >= _mean(before.recall, old) - CROWDED_OUT, (old, after)
