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


def test_previous_champion_comes_first_then_named_versions_then_those_held_back() -> None:
    selected = choose(V[5], V[4], [V[2]], [V[9], V[8]])
    assert selected == ShadowSelection(4, (4, 2, 9, 8), {})


def test_selection_is_limited_to_four_and_names_the_others() -> None:
    selected = choose(V[5], V[4], [V[1], V[2]], [V[9], V[8]])
    assert selected.shadows == (4, 1, 2, 9)
    assert selected.skipped == {8: "at most 4 versions shadow at a time"}


def test_selection_has_neither_the_champion_nor_duplicates() -> None:
    selected = choose(V[5], V[4], [V[5], V[4], V[9]], [V[9]])
    assert selected.shadows == (4, 9)


def test_version_with_another_backbone_is_kept_for_rollback_only() -> None:
    selected = choose(V[5], replace(V[4], backbone="other"), [], [])
    assert (selected.previous, selected.shadows) == (4, ())
    assert "another backbone than the champion, version 5" in selected.skipped[4]


def test_first_version_has_no_shadows() -> None:
    assert choose(V[1], None, [], []) == ShadowSelection()


@pytest.fixture
def trained(store: Store) -> Store:
    """Version 1, and after it version 2 as champion."""
    for number in (1, 2):
        tiny.publish(store)
        tiny.activate(store, number, now=1000.0 + number)
    return store


def select(store: Store, named: tuple[int, ...] = ()) -> ShadowSelection:
    with store.db.read() as conn:
        newest = promotions.newest_activation(conn)
        assert newest is not None
        return selection.select(conn, newest, named)


def test_challengers_held_back_from_this_champion_shadow_it(trained: Store) -> None:
    tiny.publish(trained, tiny.plain_manifest(created_at=900.0), HELD_BACK)  # 3: too old
    tiny.publish(trained, tiny.plain_manifest(created_at=time.time()), HELD_BACK)  # 4
    tiny.publish(trained, tiny.plain_manifest(created_at=time.time()))  # 5: passed
    assert select(trained).shadows == (1, 4)
    tiny.activate(trained, 5, now=time.time())
    assert select(trained).shadows == (2,)


def test_missing_named_version_is_reported(trained: Store) -> None:
    selected = select(trained, (1, 77))
    assert selected.shadows == (1,)
    assert "version 77 does not exist" in selected.skipped[77]


def test_rolled_back_version_does_not_shadow(trained: Store) -> None:
    tiny.activate(trained, 1, now=2000.0)
    assert select(trained) == ShadowSelection()
