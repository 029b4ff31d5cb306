"""When to retrain without being asked: a pure function of what is new."""

from __future__ import annotations

from dataclasses import dataclass

from training.recipe import TriggerRecipe


@dataclass(frozen=True, slots=True)
class NewLabels:
    """Label events that no finished run has seen, and how the last run ended. Times in seconds."""

    num_new: int
    oldest_at: float | None
    newest_at: float | None
    last_ended_at: float | None
    last_failed: bool


def due_trigger(news: NewLabels, now: float, recipe: TriggerRecipe) -> str | None:
    """Name the trigger that fires, if one does."""
    return next((name for name, at in trigger_times(news, recipe).items() if at <= now), None)


def trigger_times(news: NewLabels, recipe: TriggerRecipe) -> dict[str, float]:
    """When each trigger fires if nothing else is labelled, by its name: the first that is due is
    the one to name. Empty if nothing is new."""
    if news.num_new == 0 or news.oldest_at is None or news.newest_at is None:
        return {}
    earliest = 0.0
    if news.last_ended_at is not None:
        pause = recipe.pause_after_failure_s if news.last_failed else recipe.min_interval_s
        earliest = news.last_ended_at + pause
    found = {}
    if 0 < recipe.after_labels <= news.num_new:
        found["labels"] = earliest
    if recipe.quiet_period_s > 0:
        found["quiet"] = max(earliest, news.newest_at + recipe.quiet_period_s)
    if recipe.every_s > 0:
        found["schedule"] = max(earliest, news.oldest_at + recipe.every_s)
    return found
