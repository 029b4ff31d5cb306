from __future__ import annotations

import time
from dataclasses import replace

import pytest

from core.registry import promotions
from core.registry.versions import VersionRef
from core.shadows import selection
from core.shadows.selection import ShadowSelection, choose
from core.store.store import Store
from tests.support import tiny

HELD_BACK = {"promote": False, "reason": "no better"}


V = {number: VersionRef(number, "b") for number in range(1, 10)}


def test_the_one_before_comes_first_then_the_named_then_those_held_back() -> None:
    found = choose(V[5], V[4], [V[2]], [V[9], V[8]])
    assert found == ShadowSelection(4, (4, 2, 9, 8), {})


def test_at_most_four_shadow_and_the_others_are_told_of() -> None:
    found = choose(V[5], V[4], [V[1], V[2]], [V[9], V[8]])
    assert found.shadows == (4, 1, 2, 9)
    assert found.skipped == {8: "at most 4 versions shadow at once"}


def test_nothing_shadows_itself_or_twice() -> None:
    found = choose(V[5], V[4], [V[5], V[4], V[9]], [V[9]])
    assert found.shadows == (4, 9)


def test_other_backbone_is_kept_for_a_rollback_and_does_not_shadow() -> None:
    found = choose(V[5], replace(V[4], backbone="other"), [], [])
    assert (found.previous, found.shadows) == (4, ())
    assert "another backbone than the champion, version 5" in found.skipped[4]


def test_first_version_stands_alone() -> None:
    assert choose(V[1], None, [], []) == ShadowSelection()


@pytest.fixture
def taught(store: Store) -> Store:
    """Version 1, and after it version 2 as champion."""
    for number in (1, 2):
        tiny.publish(store)
        tiny.activate(store, number, now=1000.0 + number)
    return store


def choice(store: Store, named: tuple[int, ...] = ()) -> ShadowSelection:
    with store.db.read() as conn:
        newest = promotions.newest_activation(conn)
        assert newest is not None
        return selection.select(conn, newest, named)


def test_challengers_that_the_gate_held_back_from_this_champion_shadow(taught: Store) -> None:
    tiny.publish(taught, tiny.plain_manifest(created_at=900.0), HELD_BACK)  # 3: before its time
    tiny.publish(taught, tiny.plain_manifest(created_at=time.time()), HELD_BACK)  # 4
    tiny.publish(taught, tiny.plain_manifest(created_at=time.time()))  # 5: passed
    assert choice(taught).shadows == (1, 4)
    tiny.activate(taught, 5, now=time.time())
    assert choice(taught).shadows == (2,)


def test_named_version_that_does_not_exist_is_told_of(taught: Store) -> None:
    found = choice(taught, (1, 77))
    assert found.shadows == (1,)
    assert "version 77 does not exist" in found.skipped[77]


def test_what_a_rollback_left_shadows_no_more(taught: Store) -> None:
    tiny.activate(taught, 1, now=2000.0)
    assert choice(taught) == ShadowSelection()
