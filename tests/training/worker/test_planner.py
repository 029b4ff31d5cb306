from __future__ import annotations

from dataclasses import replace

import pytest

from training.recipe import PlannerPolicy
from training.worker.planner import PastTuning, Plan, PlannerInput, plan, similarity

POLICY = PlannerPolicy()


def planner_input(per_class: int, probe: float | None, num_classes: int = 10) -> PlannerInput:
    return PlannerInput({f"class {k}": per_class for k in range(num_classes)}, probe)


@pytest.mark.parametrize(
    ("per_class", "probe", "tier", "share"),
    [
        (50, 0.95, "head", 0),  # small and similar
        (50, 0.60, "blocks", POLICY.last_blocks),  # small and different
        (500, 0.95, "blocks", POLICY.last_blocks),  # large and similar
        (500, 0.60, "blocks", 1.0),  # large and different
    ],
)
def test_plan_depends_on_size_and_similarity(
    per_class: int, probe: float, tier: str, share: float
) -> None:
    found = plan(planner_input(per_class, probe), POLICY)
    assert (found.tier, found.share) == (tier, share)
    assert found.reason


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (planner_input(2, 0.5), "too few"),
        (planner_input(19, 0.5, num_classes=50), "too few"),
        (planner_input(500, None), "not measured"),
        (planner_input(500, 0.999), "nothing is left"),
        (PlannerInput({"a": 5_000, "b": 60}, 0.6), "largest class"),
        (PlannerInput({}, None), "too few"),
    ],
)
def test_plan_is_the_head_alone_where_blocks_would_harm_or_gain_nothing(
    given: PlannerInput, said: str
) -> None:
    found = plan(given, POLICY)
    assert found == Plan("head", 0, 0, found.reasons)
    assert said in found.reason


@pytest.mark.parametrize(
    ("past", "per_class", "tier"),
    [
        (PastTuning(1_000, True), 149, "head"),
        (PastTuning(1_000, True), 150, "blocks"),
        (PastTuning(1_000, False), 224, "head"),
        (PastTuning(1_000, False), 225, "blocks"),
    ],
)
def test_blocks_wait_for_more_examples(past: PastTuning, per_class: int, tier: str) -> None:
    assert plan(replace(planner_input(per_class, 0.6), past=past), POLICY).tier == tier


def test_new_run_trains_at_least_as_many_blocks_as_the_one_that_tuned_the_champion() -> None:
    deep = PastTuning(1_000, True, share=1.0)
    features_fit = replace(planner_input(500, 0.95), past=deep)
    assert plan(features_fit, POLICY).share == POLICY.last_blocks
    found = plan(replace(features_fit, is_tuned=True), POLICY)
    assert found.share == 1.0
    assert "as many blocks as the last time" in found.reason
    shallow = PastTuning(1_000, True, share=0.1)
    found = plan(replace(features_fit, past=shallow, is_tuned=True), POLICY)
    assert found.share == POLICY.last_blocks


def test_more_examples_mean_fewer_epochs_within_bounds() -> None:
    epochs = [plan(planner_input(n, 0.6), POLICY).epochs for n in (25, 100, 500, 50_000)]
    assert epochs == sorted(epochs, reverse=True)
    assert epochs[0] == 20
    assert epochs[-1] == 4


def test_similarity_is_zero_at_chance_and_one_at_perfect() -> None:
    assert similarity(0.5, 2) == 0
    assert similarity(0.1, 2) == 0
    assert similarity(1.0, 5) == 1
