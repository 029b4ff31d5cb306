"""When to retrain without being asked: a pure function of what is new."""

from __future__ import annotations

from dataclasses import dataclass

from training.recipe import TriggerRecipe


@dataclass(frozen=True, slots=True)
class News:
    """Label events that no finished run has seen, and how the last run ended. Times in seconds."""

    num_new: int
    oldest_at: float | None
    newest_at: float | None
    last_ended_at: float | None
    last_failed: bool


def due(news: News, now: float, recipe: TriggerRecipe) -> str | None:
    """Name the trigger that fires, if one does."""
    if news.num_new == 0 or news.oldest_at is None or news.newest_at is None:
        return None
    if news.last_ended_at is not None:
        pause = recipe.pause_after_failure_s if news.last_failed else recipe.min_interval_s
        if now - news.last_ended_at < pause:
            return None
    if 0 < recipe.after_labels <= news.num_new:
        return "labels"
    if 0 < recipe.after_quiet_s <= now - news.newest_at:
        return "quiet"
    if 0 < recipe.every_s <= now - news.oldest_at:
        return "schedule"
    return None
