"""The learning curve: its law, its forecasts, its verdict and its classes."""

from __future__ import annotations

import numpy as np
import pytest

from training.analysis.class_gains import class_gains
from training.analysis.curve_points import Measured, Point, measure
from training.analysis.learning_curve import describe
from training.analysis.out_of_fold import score_out_of_fold
from training.analysis.power_law import fit_power_laws
from training.dataset import Dataset
from training.recipe import HeadRecipe

SIZES = np.array([50.0, 100.0, 200.0, 400.0])
CLASSES = ("cat", "dog")


def measured(error_of: dict[str, list[float]], num_judged: int = 400) -> Measured:
    """Half of the rows are of each class, and each head is wrong on so many of them."""
    label_M = np.arange(num_judged) % 2
    rng = np.random.default_rng(0)
    luck_M = rng.permutation(num_judged) / num_judged
    points = []
    for p, size in enumerate(SIZES):
        error_M = np.array([error_of[CLASSES[k]][p] for k in label_M])
        points.append(Point(float(size), np.stack([luck_M >= error_M] * 2)))
    return Measured(tuple(points), label_M, "held-out examples")


@pytest.mark.parametrize(("floor", "exponent"), [(0.0, 0.5), (0.1, 0.5), (0.0, 0.4)])
def test_law_of_exact_points_is_found(floor: float, exponent: float) -> None:
    error_P = floor + 2 * SIZES**-exponent
    laws = fit_power_laws(SIZES, error_P[None])
    expected = floor + 2 * 1600.0**-exponent
    assert laws.error(1600.0)[0] == pytest.approx(expected, abs=0.02)


def test_law_never_rises_or_falls_below_zero() -> None:
    rising, falling = np.linspace(0.1, 0.3, 4), np.array([0.9, 0.5, 0.1, 0.0])
    laws = fit_power_laws(SIZES, np.stack([rising, falling, np.zeros(4)]))
    assert laws.error(1e6)[0] == pytest.approx(rising.mean())
    assert (laws.error(1e6) >= 0).all()
    assert laws.error(1e6)[2] == 0


def test_error_that_falls_is_worth_more_labels() -> None:
    falls = [0.4, 0.29, 0.21, 0.15]
    curve = describe(measured({"cat": falls, "dog": falls}), CLASSES, 500)
    assert [point["labels"] for point in curve["points"]] == [62, 125, 250, 500]
    assert [point["labels"] for point in curve["forecast"]] == [1000, 2000]
    assert curve["forecast"][0]["accuracy"] == pytest.approx(0.89, abs=0.01)
    assert curve["verdict"] == "worth it"
    assert curve["text"].startswith("Doubling the labels is expected to gain 3.9 points (")
    low, high = curve["gain_interval"]
    assert low < curve["gain"] < high


def test_error_that_stays_is_levelling_off() -> None:
    stays = [0.11, 0.105, 0.1, 0.1]
    curve = describe(measured({"cat": stays, "dog": stays}), CLASSES, 500)
    assert curve["verdict"] == "levelling off"
    assert "levelling off: doubling" in curve["text"]


def test_no_error_is_no_certainty() -> None:
    never = [0.0] * 4
    curve = describe(measured({"cat": never, "dog": never}, 100), CLASSES, 500)
    assert curve["verdict"] == "levelling off"
    assert curve["forecast"][0]["accuracy"] == 1
    assert curve["forecast"][0]["interval"][0] == pytest.approx(0.963, abs=0.001)


def test_few_labels_are_too_early() -> None:
    curve = describe(
        measured({"cat": [0.5] * 4, "dog": [0.5] * 4}), tuple(map(str, range(60))), 500
    )
    assert (curve["verdict"], curve["forecast"]) == ("too early", [])
    assert "label about 100 more examples" in curve["text"]


def test_so_many_more_labels_as_it_asks_for_are_enough() -> None:
    def text(num_rows: int) -> str:
        data = tiny_task(num_rows)
        scored = score_out_of_fold(data, HeadRecipe())
        found = measure(data, data.part(slice(0)), scored, HeadRecipe(), is_backbone_tuned=False)
        return str(describe(found, data.classes, num_rows)["text"])

    assert "label about 8 more examples" in text(24)
    assert "too early" not in text(24 + 8)


def test_few_judges_ask_for_more_labels_without_a_number() -> None:
    falls = [0.4, 0.29, 0.21, 0.15]
    curve = describe(measured({"cat": falls, "dog": falls}, num_judged=12), CLASSES, 500)
    assert curve["text"] == "It is too early to say: label more examples, of all classes."


def test_class_that_is_wrong_and_falls_gains_most() -> None:
    found = measured({"cat": [0.6, 0.45, 0.32, 0.22], "dog": [0.05, 0.05, 0.05, 0.05]})
    errors = [1 - point.correct_RM.mean() for point in found.points]
    gains = class_gains(found, fit_power_laws(SIZES, np.array([errors])), CLASSES)
    assert gains["cat"] > 0.04
    assert gains["dog"] < 0.01


def tiny_task(num_rows: int, num_held_out: int = 0) -> Dataset:
    rng = np.random.default_rng(0)
    y_N = np.arange(num_rows) % 3
    x_ND = (rng.standard_normal((3, 16))[y_N] + rng.standard_normal((num_rows, 16))).astype(
        np.float16
    )
    # Two near-duplicates in each group.
    group_N = (np.arange(num_rows) // 6 * 3 + y_N).astype(str)
    names = ("a", "b", "c")
    return Dataset(names, x_ND, y_N, group_N, np.arange(num_rows), num_rows - num_held_out)


def test_parts_grow_and_are_judged_by_each_other() -> None:
    data = tiny_task(90)
    scored = score_out_of_fold(data, HeadRecipe())
    found = measure(data, data.part(slice(0)), scored, HeadRecipe(), is_backbone_tuned=False)
    sizes = [point.num_fitted for point in found.points]
    assert sizes == sorted(set(sizes))
    assert found.judged_by == "cross-validation"
    assert all(point.correct_RM.shape[1] == 90 for point in found.points)


@pytest.mark.parametrize("is_tuned", [False, True])
def test_held_out_examples_judge_once_there_are_enough_or_the_backbone_knows_the_others(
    is_tuned: bool,
) -> None:
    data = tiny_task(90, 30) if is_tuned else tiny_task(300, 210)
    scored = score_out_of_fold(data.training, HeadRecipe())
    found = measure(data.training, data.held_out, scored, HeadRecipe(), is_backbone_tuned=is_tuned)
    assert found.judged_by == "held-out examples"
    assert len(found.label_M) == data.num_held_out


def test_two_rows_a_class_make_a_curve_of_one_point_or_more() -> None:
    data = tiny_task(6)
    scored = score_out_of_fold(data, HeadRecipe())
    found = measure(data, data.part(slice(0)), scored, HeadRecipe(), is_backbone_tuned=False)
    curve = describe(found, data.classes, 6)
    assert curve["verdict"] == "too early"
    assert "nan" not in str(curve).lower()
