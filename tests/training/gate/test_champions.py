"""The predictions of champions are cached."""

from __future__ import annotations

import numpy as np
import pytest

from core.models.backbones import Runtime
from core.models.servable import Servable, load
from core.registry.versions import read_manifest
from tests.training.digits_store import live
from training.dataset import Dataset
from training.gate import evaluate
from training.gate.champions import CachedPredictions


@pytest.fixture
def champion(starter_store) -> Servable:
    manifest = read_manifest(live(starter_store), starter_store)
    return load(manifest, starter_store.blobs, Runtime("cpu"))


@pytest.fixture
def rows(champion: Servable) -> Dataset:
    num, rng = 40, np.random.default_rng(0)
    x_ND = rng.normal(size=(num, champion.manifest.embedding_size)).astype(np.float32)
    classes = (*champion.manifest.classes, "unknown to it")
    # It is right about half of them.
    y_N = champion.score(x_ND)[0].argmax(axis=1)
    y_N[::2] = len(classes) - 1
    ids_N = rng.permutation(100)[:num]
    return Dataset(classes, x_ND, y_N, ids_N.astype(str), ids_N, 0)


def test_cache_predicts_as_its_version_and_scores_only_new_rows(
    champion: Servable, rows: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    score = champion.score

    def counted(x_ND):
        asked.append(len(x_ND))
        return score(x_ND)

    monkeypatch.setattr(champion, "score", counted)
    predictions, right_N = CachedPredictions(champion), evaluate.correct_N(champion, rows)
    is_first_N = np.random.default_rng(1).random(len(rows)) < 0.6
    first = rows.part(is_first_N)
    assert 0 < right_N[is_first_N].sum() < len(first)
    best_N = score(rows.x_ND)[0].argmax(axis=1)
    asked.clear()
    for some in (first, first, rows, rows.part(~is_first_N), rows):
        at_N = np.isin(rows.example_id_N, some.example_id_N)
        np.testing.assert_array_equal(predictions.predict(some), best_N[at_N])
        np.testing.assert_array_equal(evaluate.cached_correct_N(predictions, some), right_N[at_N])
    others = len(rows) - len(first)
    # All of the first, then the others; then the first again, which were let go of meanwhile.
    assert asked == [len(first), others, len(first)]


def test_cache_predicts_nothing_for_no_rows(champion: Servable, rows: Dataset) -> None:
    nothing = rows.part(slice(0))
    assert len(CachedPredictions(champion).predict(nothing)) == 0
