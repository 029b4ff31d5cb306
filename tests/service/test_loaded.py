"""The versions that a process has loaded, and the memory of those that it lets go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.backbones import Backbone, Runtime
from core.manifest import Manifest
from core.store import Store
from service import loaded as loaded_module
from service.loaded import Loaded
from service.turns import Turns
from tests import tiny


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    monkeypatch.setattr(loaded_module, "give_memory_back", lambda: found.append(1))
    return found


def publish(store: Store, seed: int, *, is_optimised: bool) -> int:
    manifest: Manifest = tiny.make_manifest(store.blobs, backbone_seed=seed)
    if is_optimised:
        runtime = Runtime("cpu")
        backbone = Backbone(store.blobs.get(manifest.backbone), manifest.backbone, runtime)
        optimised = runtime.optimise(backbone, manifest.pixels, store.blobs)
        if optimised is None:
            pytest.skip("this machine does not tell what kind it is")
        manifest = replace(manifest, optimised=optimised)
    return tiny.publish(store, manifest)


class CountedTurns(Turns):
    def __init__(self) -> None:
        self.num_taken = 0

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        self.num_taken += 1
        yield


def test_a_backbone_waits_for_its_turn_and_a_head_alone_does_not(sqlite_store: Store) -> None:
    turns = CountedTurns()
    loaded = Loaded(sqlite_store, Runtime("cpu"), turns)
    first, head, other = (
        tiny.publish(sqlite_store, tiny.make_manifest(sqlite_store.blobs, backbone_seed=seed))
        for seed in (1, 1, 2)
    )
    loaded.load(first)
    assert turns.num_taken == 0, "a process that starts does not wait"
    loaded.load(head, is_beside=True)
    assert turns.num_taken == 0
    loaded.load(other, is_beside=True)
    assert turns.num_taken == 1


def let_go(loaded: Loaded, number: int) -> None:
    loaded.load(number)
    loaded.keep_only(())


def test_memory_is_given_back_with_each_backbone_that_was_allocated(
    sqlite_store: Store, given_back: list[int]
) -> None:
    loaded = Loaded(sqlite_store, Runtime("cpu"))
    for seed in (1, 2):
        let_go(loaded, publish(sqlite_store, seed, is_optimised=False))
        assert len(given_back) == seed
    loaded.keep_only(())
    assert len(given_back) == 2


def test_and_now_and_then_after_those_that_were_mapped(
    sqlite_store: Store, given_back: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded_module, "_SMALL_LEFTOVERS", 3)
    loaded = Loaded(sqlite_store, Runtime("cpu"))
    number = publish(sqlite_store, 1, is_optimised=True)
    for expected in (0, 0, 1, 1, 1, 2):
        let_go(loaded, number)
        assert len(given_back) == expected


def test_a_head_alone_leaves_nothing(sqlite_store: Store, given_back: list[int]) -> None:
    manifests = [tiny.make_manifest(sqlite_store.blobs, head_seed=seed) for seed in (1, 2)]
    first, second = (tiny.publish(sqlite_store, manifest) for manifest in manifests)
    loaded = Loaded(sqlite_store, Runtime("cpu"))
    for number in (first, second):
        loaded.load(number)
    loaded.keep_only([second])
    assert (loaded.numbers, given_back) == ((second,), [])
