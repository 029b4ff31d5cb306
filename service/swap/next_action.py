"""What a worker does next in a swap, as a pure function of what it has polled and what it holds.

    promotion pending  ->  Load  ->  Advance  ->  activation  ->  Schedule

The function is idempotent: the same state gives the same action, and the action changes the state.
`service/swap/executor.py` carries the actions out.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from core.registry.latest import Latest
from core.registry.promotions import Activation


@dataclass(frozen=True, slots=True)
class Load:
    """Load the version; a failure is recorded under the promotion."""

    version: int
    promotion_id: int


@dataclass(frozen=True, slots=True)
class Advance:
    """Report that the version of the pending promotion is loaded, or why not, and decide."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Hand the version to the slot, for the time that the activation names."""

    activation: Activation


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until the next poll."""


Action = Load | Advance | Schedule | Wait


def next_action(
    latest: Latest, loaded: Collection[int], scheduled: int, failed: Collection[int]
) -> Action:
    """Decide from the versions that are `loaded`, the id of the activation that the slot has
    `scheduled` last, and the ids of the promotions whose version has `failed` to load.

    The activation comes first: every worker must schedule it before its time.
    """
    activation, pending = latest.activation, latest.pending
    # Ids grow, so one that another thread has overtaken is never followed.
    if activation is not None and activation.id > scheduled:
        if activation.version in loaded:
            return Schedule(activation)
        if activation.promotion_id not in failed:
            return Load(activation.version, activation.promotion_id)
    if pending is None:
        return Wait()
    if pending.version in loaded or pending.id in failed:
        return Advance()
    return Load(pending.version, pending.id)
