"""When to start a run without a request: a pure function of the new labels."""

from __future__ import annotations

from dataclasses import dataclass

from training.recipe import TriggerRecipe


@dataclass(frozen=True, slots=True)
class NewLabels:
    """Label events that no finished run has seen, and how the last run ended. Unix times."""

    num_new: int
    oldest_at: float | None
    newest_at: float | None
    last_run_ended_at: float | None
    last_run_failed: bool
    # Whether an archive is being imported, which labels for as long as it takes.
    is_importing: bool = False


def due_trigger(new: NewLabels, now: float, recipe: TriggerRecipe) -> str | None:
    """Name the trigger that fires, if one does."""
    return next((name for name, at in trigger_times(new, recipe).items() if at <= now), None)


def trigger_times(new: NewLabels, recipe: TriggerRecipe) -> dict[str, float]:
    """Return when each trigger fires if nothing else is labelled, in order of precedence.

    Empty if there are no new labels.
    """
    if new.num_new == 0 or new.oldest_at is None or new.newest_at is None:
        return {}
    earliest = 0.0
    if new.last_run_ended_at is not None:
        pause_s = recipe.pause_after_failure_s if new.last_run_failed else recipe.min_interval_s
        earliest = new.last_run_ended_at + pause_s
    if new.is_importing:  # each of its transactions would start a run
        last_at = max(new.oldest_at, new.last_run_ended_at or 0.0)
        earliest = max(earliest, last_at + recipe.importing_interval_s)
    times = {}
    if 0 < recipe.after_labels <= new.num_new:
        times["labels"] = earliest
    if recipe.quiet_period_s > 0:
        times["quiet"] = max(earliest, new.newest_at + recipe.quiet_period_s)
    if recipe.every_s > 0:
        times["schedule"] = max(earliest, new.oldest_at + recipe.every_s)
    return times
