"""What a worker does next, for each state that it can be in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.registry.latest import Latest
from core.registry.promotions import Activation, Promotion
from service.swap.next_action import Action, Advance, Load, Schedule, Wait, next_action

NOW = 1_700_000_000.0


def pending(number: int, version: int) -> Promotion:
    return Promotion(number, version, "waiting", "ann", "better", None, NOW)


def activation(number: int, version: int, promotion_id: int) -> Activation:
    return Activation(number, version, promotion_id, NOW + 0.4, "ann", "better", NOW, None)


# Version 1 is the champion, by activation 1 of promotion 1.
CHAMPION = activation(1, 1, 1)
QUIET = Latest(activation=CHAMPION)
# Version 2 is to be the next one, by promotion 2.
PENDING = Latest(pending=pending(2, 2), activation=CHAMPION)
SECOND = activation(2, 2, 2)
ACTIVATED = Latest(activation=SECOND)
# Version 3 is requested while version 2 is still ahead.
BOTH = Latest(pending=pending(3, 3), activation=SECOND)


@pytest.mark.parametrize(
    ("latest", "loaded", "scheduled", "failed", "action"),
    [
        # Nothing changes.
        (Latest(), (), 0, (), Wait()),
        (QUIET, (1,), 1, (), Wait()),
        (QUIET, (1, 2, 3), 1, (), Wait()),
        (QUIET, (1,), 1, (7,), Wait()),
        # A promotion is pending.
        (PENDING, (1,), 1, (), Load(2, 2)),
        (PENDING, (1, 2), 1, (), Advance()),
        (PENDING, (1,), 1, (2,), Advance()),
        (PENDING, (1, 2), 1, (2,), Advance()),
        (PENDING, (1,), 1, (1,), Load(2, 2)),  # the failure of another promotion
        (replace(PENDING, pending=pending(2, 1)), (1,), 1, (), Advance()),
        (replace(PENDING, activation=None), (), 0, (), Load(2, 2)),
        # An activation is new.
        (ACTIVATED, (1, 2), 1, (), Schedule(SECOND)),
        (ACTIVATED, (1, 2), 0, (), Schedule(SECOND)),
        (ACTIVATED, (1, 2), 2, (), Wait()),
        (ACTIVATED, (1,), 1, (), Load(2, 2)),
        (ACTIVATED, (1,), 1, (2,), Wait()),
        (ACTIVATED, (1, 2), 1, (2,), Schedule(SECOND)),  # loaded after all
        # An older one than another thread has scheduled.
        (QUIET, (1, 2), 2, (), Wait()),
        (PENDING, (1, 2), 2, (), Advance()),
        # Both: the activation comes first.
        (BOTH, (1, 2), 1, (), Schedule(SECOND)),
        (BOTH, (1, 3), 1, (), Load(2, 2)),
        (BOTH, (1, 2), 2, (), Load(3, 3)),
        (BOTH, (1, 2, 3), 2, (), Advance()),
        (BOTH, (1,), 1, (2,), Load(3, 3)),
        (BOTH, (1, 3), 1, (2,), Advance()),
        (BOTH, (1,), 1, (2, 3), Advance()),
    ],
)
def test_next_action_follows_from_the_state(
    latest: Latest,
    loaded: tuple[int, ...],
    scheduled: int,
    failed: tuple[int, ...],
    action: Action,
) -> None:
    assert next_action(latest, loaded, scheduled, failed) == action
    assert next_action(latest, loaded, scheduled, failed) == action


def subsets(numbers: tuple[int, ...]) -> Iterator[set[int]]:
    for size in range(len(numbers) + 1):
        yield from map(set, itertools.combinations(numbers, size))


@pytest.mark.parametrize("latest", [Latest(), QUIET, PENDING, ACTIVATED, BOTH])
def test_actions_end_whichever_versions_can_be_loaded(latest: Latest) -> None:
    """From any state: each action changes the state, and none is repeated."""
    numbers = (1, 2, 3)
    for loaded, failed, loadable in itertools.product(*3 * [tuple(subsets(numbers))]):
        for scheduled in range(3):
            done = carry_out(latest, set(loaded), scheduled, set(failed), loadable)
            assert done[-1] in (Advance(), Wait())
            assert len(done) == len(set(done))


def carry_out(
    latest: Latest, loaded: set[int], scheduled: int, failed: set[int], loadable: set[int]
) -> list[Action]:
    """Carry the actions out on a model of the state, until the next poll."""
    done: list[Action] = []
    for _ in range(10):
        action = next_action(latest, loaded, scheduled, failed)
        done.append(action)
        match action:
            case Load(version, promotion_id):
                if version in loadable:
                    loaded.add(version)
                else:
                    failed.add(promotion_id)
            case Schedule(activation):
                scheduled = activation.id
            case Advance() | Wait():
                return done
    return done
