"""What an earlier champion answers is asked once."""

from __future__ import annotations

import numpy as np
import pytest

from core.servable import Runtime, Servable, load
from core.versions import read_manifest
from tests.training.school import live
from training import judge
from training.contenders import KeptAnswers
from training.dataset import Dataset


@pytest.fixture
def champion(school_store) -> Servable:
    manifest = read_manifest(live(school_store), school_store.blobs)
    return load(manifest, school_store.blobs, Runtime("cpu"))


@pytest.fixture
def rows(champion: Servable) -> Dataset:
    num, rng = 40, np.random.default_rng(0)
    x_ND = rng.normal(size=(num, champion.manifest.embedding_size)).astype(np.float32)
    classes = (*champion.manifest.classes, "unknown to it")
    ids_N = rng.permutation(100)[:num]
    return Dataset(classes, x_ND, np.arange(num) % len(classes), ids_N.astype(str), ids_N, 0)


def test_answers_are_those_of_the_version_and_only_new_rows_are_scored(
    champion: Servable, rows: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    score = champion.score

    def counted(x_ND):
        asked.append(len(x_ND))
        return score(x_ND)

    monkeypatch.setattr(champion, "score", counted)
    answers, right_N = KeptAnswers(champion), judge.is_right(champion, rows)
    is_first_N = np.random.default_rng(1).random(len(rows)) < 0.6
    first = rows.part(is_first_N)
    asked.clear()
    for some in (first, first, rows, rows.part(~is_first_N), rows):
        got_N = judge.was_right(answers, some)
        np.testing.assert_array_equal(got_N, right_N[np.isin(rows.example_id_N, some.example_id_N)])
    others = len(rows) - len(first)
    # All of the first, then the others; then the first again, which were let go of meanwhile.
    assert asked == [len(first), others, len(first)]


def test_no_rows_are_no_answers(champion: Servable, rows: Dataset) -> None:
    nothing = rows.part(slice(0))
    assert len(KeptAnswers(champion).of(nothing)) == 0
