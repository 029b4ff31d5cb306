"""The slot: it switches at the time of an activation, and never back."""

from __future__ import annotations

import threading
import time
from typing import cast

import pytest

from core.errors import NotReady
from core.models.servable import Servable
from core.registry.promotions import Activation
from service.swap.slot import Slot
from tests.support import concurrency


class Version:
    """All that a slot knows of a servable."""

    def __init__(self, version: int) -> None:
        self.version = version


def servable(version: int) -> Servable:
    return cast(Servable, Version(version))


def put_at(slot: Slot, version: int, activate_at: float, activation_id: int = 0) -> bool:
    """By default the id of the activation is the number of the version."""
    number = activation_id or version
    activation = Activation(number, version, number, activate_at, "ann", "better", 0.0, None)
    return slot.put_at(servable(version), activation)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def slot(clock: Clock) -> Slot:
    found = Slot(clock)
    found.put(servable(1))
    return found


def test_empty_slot_is_not_ready(clock: Clock) -> None:
    slot = Slot(clock)
    assert slot.version is None
    with pytest.raises(NotReady, match="try again"):
        slot.current()


def test_put_takes_effect_immediately(slot: Slot) -> None:
    slot.put(servable(2))
    assert slot.version == 2


def test_switch_comes_at_its_time_and_not_before(slot: Slot, clock: Clock) -> None:
    put_at(slot, 2, 101.0)
    seen = []
    for now in (100.0, 100.999, 101.0, 101.5, 500.0):
        clock.now = now
        seen.append(slot.version)
    assert seen == [1, 1, 2, 2, 2]


def test_request_waits_while_the_clock_cannot_tell_whether_to_switch(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    slot = Slot(clock, lambda: 0.01)
    slot.put(servable(1))
    put_at(slot, 2, 101.0)
    clock.now = 100.98
    assert (slot.version, waits) == (1, [])
    clock.now = 100.995
    assert slot.is_switch_ahead
    assert slot.version == 2
    assert waits == [pytest.approx(0.015)]
    assert clock.now >= 101.01


def test_put_at_a_time_that_has_passed_takes_effect_immediately(slot: Slot) -> None:
    put_at(slot, 2, 99.0)
    assert slot.version == 2


def test_switch_is_not_undone_when_the_clock_is_set_back(slot: Slot, clock: Clock) -> None:
    put_at(slot, 2, 101.0)
    clock.now = 102.0
    assert slot.version == 2
    clock.now = 50.0
    assert slot.version == 2


def test_activation_of_before_the_clock_was_set_back_is_due(slot: Slot, clock: Clock) -> None:
    put_at(slot, 2, clock.now + 3600)
    assert slot.version == 2
    put_at(slot, 3, clock.now + 1)
    assert slot.version == 2
    clock.now -= 60
    assert slot.version == 3


def test_put_at_replaces_a_version_that_is_not_due(slot: Slot, clock: Clock) -> None:
    put_at(slot, 2, 101.0)
    put_at(slot, 3, 102.0)
    clock.now = 101.5
    assert slot.version == 1
    clock.now = 102.0
    assert slot.version == 3


def test_put_at_ignores_an_activation_that_is_not_newer(slot: Slot, clock: Clock) -> None:
    assert put_at(slot, 3, 101.0)
    assert not put_at(slot, 2, 100.5)
    assert not put_at(slot, 2, 100.5, activation_id=3)
    assert slot.activation_id == 3
    clock.now = 100.7
    assert slot.version == 1
    clock.now = 101.0
    assert slot.version == 3
    assert not put_at(slot, 2, 99.0)
    assert slot.version == 3


def test_slot_remembers_the_newest_activation_that_it_was_given(slot: Slot) -> None:
    assert slot.activation_id == 0
    slot.put(servable(5), activation_id=5)
    assert slot.activation_id == 5
    slot.put(servable(4))
    assert slot.activation_id == 5


def test_switch_is_ahead_until_its_time(slot: Slot, clock: Clock) -> None:
    assert not slot.is_switch_ahead
    put_at(slot, 2, 101.0)
    assert slot.is_switch_ahead
    clock.now = 101.0
    assert not slot.is_switch_ahead
    assert slot.version == 2


def test_put_cancels_a_switch_that_is_ahead(slot: Slot, clock: Clock) -> None:
    put_at(slot, 2, 101.0)
    slot.put(servable(3))
    clock.now = 200.0
    assert slot.version == 3


def test_put_at_does_not_replace_a_version_that_is_due(slot: Slot, clock: Clock) -> None:
    put_at(slot, 2, 101.0)
    clock.now = 101.0
    put_at(slot, 3, 102.0)
    # No request came between the two, and the next one must not get version 1.
    assert slot.version == 2


def test_reference_outlives_the_switch(slot: Slot) -> None:
    taken = slot.current()
    slot.put(servable(2))
    assert taken.version == 1


def test_no_thread_sees_an_old_version_after_a_new_one(slot: Slot, clock: Clock) -> None:
    done = threading.Event()

    def read(i: int) -> list[int]:
        seen = []
        if i == 0:
            for number in range(2, 300):
                put_at(slot, number, clock.now + 1)
                clock.now += 1
            done.set()
        while not done.is_set():
            seen.append(slot.current().version)
        return seen

    for seen in concurrency.in_threads(4, read):
        assert seen == sorted(seen)
