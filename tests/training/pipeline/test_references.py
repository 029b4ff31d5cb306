"""References chosen from data sets of random directions.

N rows, D embedding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from core.models.references import References
from training.dataset import Dataset
from training.pipeline import references
from training.pipeline.references import choose_references, choose_rows

pytestmark = pytest.mark.slow  # not in `make check`

SIZE = 200


def directions(num: int, centre: int, seed: int, spread: float = 0.05) -> NDArray[np.float32]:
    """Embeddings around one axis, of random lengths."""
    rng = np.random.default_rng(seed)
    x_ND = rng.normal(0, spread, (num, SIZE))
    x_ND[:, centre] += 1
    return (x_ND * rng.uniform(0.5, 20, (num, 1))).astype(np.float32)


def dataset(
    x_ND: NDArray[Any], num_held_out: int = 0, groups: NDArray[Any] | None = None
) -> Dataset:
    num = len(x_ND)
    group_N = np.arange(num).astype(str) if groups is None else groups
    y_N = np.arange(num) % 2
    return Dataset(("a", "b"), x_ND, y_N, group_N, np.arange(num), num - num_held_out)


def chosen(data: Dataset, *, tuned: bool = False) -> References:
    found = choose_references(data, is_backbone_tuned=tuned)
    assert found is not None
    return found


def share(found: References, x_ND: NDArray[np.float32]) -> float:
    return float(found.are_unfamiliar(x_ND).mean())


@pytest.mark.parametrize("num", [30, 100, 1000])
def test_one_in_twenty_known_images_is_flagged_and_every_other_thing(num: int) -> None:
    known_ND = np.concatenate([directions(num // 2, k, seed=k) for k in range(2)])
    found = chosen(dataset(known_ND))
    assert len(found) == num
    new_ND = np.concatenate([directions(500, k, seed=10 + k) for k in range(2)])
    assert share(found, new_ND) < 0.15
    assert share(found, directions(200, 2, seed=20)) == 1
    assert share(found, np.random.default_rng(0).normal(0, 1, (200, SIZE)).astype("f4")) == 1


def test_held_out_examples_are_not_references() -> None:
    known_ND = np.concatenate([directions(40, 0, seed=0), directions(10, 1, seed=1)])
    found = chosen(dataset(known_ND, num_held_out=10))
    assert len(found) == 40
    assert share(found, directions(10, 1, seed=1)) == 1


def test_copies_of_an_image_do_not_make_the_threshold_strict() -> None:
    known_ND = directions(40, 0, seed=0)
    copies_ND = np.repeat(known_ND, 8, axis=0)
    groups_N = np.repeat(np.arange(40), 8).astype(str)
    found = chosen(dataset(copies_ND, groups=groups_N))
    assert found.threshold < 0.99
    assert share(found, directions(300, 0, seed=1)) < 0.2
    unaware = chosen(dataset(copies_ND))
    assert unaware.threshold > 0.99


def test_few_examples_have_no_references() -> None:
    assert choose_references(dataset(directions(5, 0, 0)), is_backbone_tuned=False) is None
    assert len(chosen(dataset(directions(6, 0, 0)))) == 6
    burst_N = np.array(["burst"] * 20 + [str(i) for i in range(4)])
    data = dataset(directions(24, 0, 0), groups=burst_N)
    assert choose_references(data, is_backbone_tuned=False) is None


def test_held_out_examples_set_the_threshold_of_a_tuned_backbone() -> None:
    """It holds the examples that it was tuned on closer together than new ones."""
    tight_ND = directions(200, 0, seed=0, spread=0.01)
    new_ND = directions(500, 0, seed=1)
    both_ND = np.concatenate([tight_ND, new_ND[:100]])
    by_references = chosen(dataset(both_ND, num_held_out=100))
    assert share(by_references, new_ND[100:]) > 0.9
    by_held_out = chosen(dataset(both_ND, num_held_out=100), tuned=True)
    assert share(by_held_out, new_ND[100:]) < 0.15
    few = dataset(both_ND[:210], num_held_out=10)
    assert choose_references(few, is_backbone_tuned=True) is None


def test_many_examples_are_reduced_to_some_near_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(references, "MAX_CHOSEN", 100)
    known_ND = np.concatenate([directions(1000, 0, seed=0), directions(30, 1, seed=1)])
    found = chosen(dataset(known_ND))
    assert 80 <= len(found) <= 100
    assert share(found, directions(500, 0, seed=2)) < 0.15
    assert share(found, directions(200, 2, seed=3)) == 1


def test_chosen_rows_are_distinct_and_cover_small_clusters() -> None:
    x_NR = np.concatenate([directions(5000, 0, seed=0, spread=0.001), directions(50, 1, seed=1)])
    x_NR /= np.linalg.norm(x_NR, axis=1, keepdims=True)
    rows = choose_rows(x_NR, 400)
    assert 300 <= len(rows) <= 400
    assert len(set(rows.tolist())) == len(rows)
    assert (rows >= 5000).any()


def test_equal_rows_can_be_chosen_from() -> None:
    rows = choose_rows(np.ones((500, 3), np.float32), 100)
    assert 1 <= len(rows) <= 100


def test_choice_is_the_same_every_time() -> None:
    data = dataset(directions(300, 0, seed=0))
    assert chosen(data).to_bytes() == chosen(data).to_bytes()


def test_file_gives_the_flags_of_training() -> None:
    found = chosen(dataset(directions(300, 0, seed=0)))
    again = References.from_bytes(found.to_bytes(), SIZE)
    assert again.threshold == found.threshold
    np.testing.assert_array_equal(again.references_NR, found.references_NR)


def test_at_most_1_024_references_are_chosen_from_20_000_examples() -> None:
    x_ND = np.random.default_rng(0).normal(0, 1, (20_000, 960)).astype(np.float32)
    data = dataset(x_ND)
    with threadpool_limits(1):  # as in a run
        found = chosen(data)
    assert 900 <= len(found) <= references.MAX_CHOSEN
