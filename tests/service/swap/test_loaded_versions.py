"""The versions that a process has loaded, and the memory of those that it lets go."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterator

import pytest

from core.models.backbones import Runtime
from core.store.store import Store
from service.swap import loaded_versions as loaded_module
from service.swap.file_semaphore import Turns
from service.swap.loaded_versions import Loaded
from tests.support import tiny


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    monkeypatch.setattr(loaded_module, "trim_memory", lambda: found.append(1))
    return found


def publish(store: Store, seed: int) -> int:
    return tiny.publish(store, tiny.make_manifest(store.blobs, backbone_seed=seed))


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
    first, head, other = (publish(sqlite_store, seed) for seed in (1, 1, 2))
    loaded.load(first)
    assert turns.num_taken == 0, "a process that starts does not wait"
    loaded.load(head, is_beside=True)
    assert turns.num_taken == 0
    loaded.load(other, is_beside=True)
    assert turns.num_taken == 1


def let_go(loaded: Loaded, number: int) -> None:
    loaded.load(number)
    loaded.retain(())


def test_memory_is_given_back_once_no_backbone_is_dropped_for_a_while(
    sqlite_store: Store, given_back: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = Loaded(sqlite_store, Runtime("cpu"))
    let_go(loaded, publish(sqlite_store, 1))
    loaded.trim_memory()
    assert given_back == [], "the next backbone may come at once"
    monkeypatch.setattr(loaded_module, "_GIVE_BACK_AFTER_S", 0.0)
    for _ in range(2):
        loaded.trim_memory()
        assert len(given_back) == 1, "once is enough"


def test_memory_is_given_back_under_swap_after_swap_too(
    sqlite_store: Store, given_back: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded_module, "_GIVE_BACK_EACH", 2)
    loaded = Loaded(sqlite_store, Runtime("cpu"))
    first, second = publish(sqlite_store, 1), publish(sqlite_store, 2)
    for number, expected in ((first, 0), (second, 1), (first, 1), (second, 2)):
        let_go(loaded, number)
        loaded.trim_memory()
        assert len(given_back) == expected


def test_a_head_alone_leaves_nothing(
    sqlite_store: Store, given_back: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = [tiny.make_manifest(sqlite_store.blobs, head_seed=seed) for seed in (1, 2)]
    first, second = (tiny.publish(sqlite_store, manifest) for manifest in manifests)
    loaded = Loaded(sqlite_store, Runtime("cpu"))
    for number in (first, second):
        loaded.load(number)
    loaded.retain([second])
    monkeypatch.setattr(loaded_module, "_GIVE_BACK_AFTER_S", 0.0)
    loaded.trim_memory()
    assert (loaded.numbers, given_back) == ((second,), [])


def test_a_dropped_backbone_is_freed_beside_answering(sqlite_store: Store) -> None:
    loaded = Loaded(sqlite_store, Runtime("cpu"))
    freed_by: list[str] = []
    servable = loaded.load(publish(sqlite_store, 1))
    weakref.finalize(servable, lambda: freed_by.append(threading.current_thread().name))
    del servable
    loaded.retain(())
    assert freed_by == ["background"]
