from __future__ import annotations

from dataclasses import replace

import pytest

from training.recipe import TriggerRecipe
from training.worker.triggers import NewLabels, due_trigger, trigger_times

NOW = 1_000_000.0
RECIPE = TriggerRecipe(
    after_labels=10, quiet_period_s=2, every_s=3600, min_interval_s=5, pause_after_failure_s=60
)
NOTHING = NewLabels(0, None, None, None, False)
BUSY = NewLabels(3, NOW - 1, NOW - 1, None, False)  # three labels, the last a second ago


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (NOTHING, None),
        (BUSY, None),
        (replace(BUSY, num_new=9), None),
        (replace(BUSY, num_new=10), "labels"),
        (replace(BUSY, newest_at=NOW - 2), "quiet"),
        (replace(BUSY, oldest_at=NOW - 3599), None),
        (replace(BUSY, oldest_at=NOW - 3600), "schedule"),
        (replace(BUSY, num_new=10, last_run_ended_at=NOW - 4), None),
        (replace(BUSY, num_new=10, last_run_ended_at=NOW - 5), "labels"),
        (replace(BUSY, num_new=10, last_run_ended_at=NOW - 59, last_run_failed=True), None),
        (replace(BUSY, num_new=10, last_run_ended_at=NOW - 60, last_run_failed=True), "labels"),
    ],
)
def test_trigger_that_fires_first_is_named(new: NewLabels, expected: str | None) -> None:
    assert due_trigger(new, NOW, RECIPE) == expected


@pytest.mark.parametrize("name", ["after_labels", "quiet_period_s", "every_s"])
def test_trigger_of_zero_is_off(name: str) -> None:
    off = {"after_labels": 0, "quiet_period_s": 0.0, "every_s": 0.0}
    waiting_long = NewLabels(10_000, NOW - 1e6, NOW - 1e6, None, False)
    assert due_trigger(waiting_long, NOW, TriggerRecipe(**off)) is None
    on = off | {name: 1}
    assert due_trigger(waiting_long, NOW, TriggerRecipe(**on)) is not None


def test_labels_of_an_import_start_few_runs() -> None:
    """They come in hundreds of transactions."""
    recipe = TriggerRecipe(after_labels=1, importing_interval_s=30)
    importing = NewLabels(500, NOW - 20, NOW, None, False, is_importing=True)
    assert due_trigger(importing, NOW, recipe) is None
    assert due_trigger(importing, NOW + 10, recipe) == "labels"
    after_a_run = replace(importing, last_run_ended_at=NOW - 10)
    assert due_trigger(after_a_run, NOW + 10, recipe) is None
    assert due_trigger(replace(after_a_run, is_importing=False), NOW, recipe) == "labels"


def test_trigger_is_due_from_its_time_on() -> None:
    for new in (BUSY, replace(BUSY, last_run_ended_at=NOW), replace(BUSY, num_new=10)):
        first = min(trigger_times(new, RECIPE).values())
        assert due_trigger(new, first, RECIPE) is not None
        assert due_trigger(new, first - 0.01, RECIPE) is None


def test_no_trigger_fires_without_new_labels() -> None:
    assert trigger_times(NOTHING, RECIPE) == {}
