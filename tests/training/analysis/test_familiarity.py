"""How similar examples are to references that are not their near-duplicates."""

from __future__ import annotations

import numpy as np

from training.analysis.familiarity import similarities
from training.dataset import Dataset
from training.pipeline.references import choose_references

RNG = np.random.default_rng(0)


def dataset(x_ND: np.ndarray, group_N: np.ndarray) -> Dataset:
    numbers = np.arange(len(x_ND))
    return Dataset(("any",), x_ND, 0 * numbers, group_N, numbers, len(x_ND))


def test_share_that_is_unfamiliar_is_that_of_the_threshold() -> None:
    x_ND = RNG.standard_normal((400, 32)).astype(np.float16)
    data = dataset(x_ND, np.arange(400).astype(str))
    references = choose_references(data, is_backbone_tuned=False)
    assert references is not None
    similarity_N = similarities(data.x_ND, data.group_N, references)
    assert 0.04 <= (similarity_N < references.threshold).mean() <= 0.06


def test_copies_of_one_photo_do_not_make_it_familiar() -> None:
    x_ND = RNG.standard_normal((60, 32)).astype(np.float16)
    x_ND[:10] = x_ND[0]
    group_N = np.arange(60).astype(str)
    group_N[:10] = "burst"
    data = dataset(x_ND, group_N)
    references = choose_references(data, is_backbone_tuned=False)
    assert references is not None
    similarity_N = similarities(data.x_ND, group_N, references)
    assert similarity_N[:10].max() < 0.9
    one_by_one_N = similarities(data.x_ND, np.arange(60).astype(str), references)
    assert one_by_one_N[1:10].min() > 0.9


def test_fewer_than_five_other_references_are_no_measure() -> None:
    x_ND = RNG.standard_normal((8, 16)).astype(np.float16)
    group_N = np.array(["a"] * 4 + list("bcde"))
    references = choose_references(dataset(x_ND, np.arange(8).astype(str)), is_backbone_tuned=False)
    assert references is not None
    similarity_N = similarities(x_ND, group_N, references)
    assert np.isnan(similarity_N[:4]).all()
    assert np.isfinite(similarity_N[4:]).all()
