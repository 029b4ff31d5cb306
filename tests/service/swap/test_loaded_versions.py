"""The versions that a process has loaded, in which thread, and the memory of unloaded ones."""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any

import pytest

from core.errors import BlobMissing
from core.models.backbones import Runtime
from core.models.servable import Servable
from core.registry import versions
from core.store import lost_blobs
from core.store.store import Store
from service.swap import loaded_versions
from service.swap.loaded_versions import LoadedVersions
from tests.support import tiny
from tests.support.concurrency import in_threads


@pytest.fixture
def trims(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    monkeypatch.setattr(loaded_versions, "trim_memory", lambda: calls.append(1))
    return calls


def publish(store: Store, seed: int) -> int:
    return tiny.publish(store, tiny.make_manifest(store.blobs, backbone_seed=seed))


def test_memory_is_trimmed_after_each_unload_of_a_backbone(
    sqlite_store: Store, trims: list[int]
) -> None:
    loaded = LoadedVersions(sqlite_store, Runtime("cpu"))
    first, second = publish(sqlite_store, 1), publish(sqlite_store, 2)
    for num_trims, number in enumerate((first, second, first), start=1):
        loaded.load(number)
        loaded.retain(())
        assert len(trims) == num_trims
        loaded.retain(())
        assert len(trims) == num_trims, "nothing was left to unload"


def test_memory_is_not_trimmed_after_the_unload_of_a_head(
    sqlite_store: Store, trims: list[int]
) -> None:
    manifests = [tiny.make_manifest(sqlite_store.blobs, head_seed=seed) for seed in (1, 2)]
    first, second = (tiny.publish(sqlite_store, manifest) for manifest in manifests)
    loaded = LoadedVersions(sqlite_store, Runtime("cpu"))
    for number in (first, second):
        loaded.load(number)
    loaded.retain([second])
    assert (loaded.numbers, trims) == ((second,), [])


def test_unloaded_backbone_is_freed_in_the_background(sqlite_store: Store) -> None:
    loaded = LoadedVersions(sqlite_store, Runtime("cpu"))
    freed_by: list[str] = []
    servable = loaded.load(publish(sqlite_store, 1))
    weakref.finalize(servable, lambda: freed_by.append(threading.current_thread().name))
    del servable
    loaded.retain(())
    assert freed_by == ["background"]


def test_load_of_a_backbone_runs_in_the_background_once_a_version_is_loaded(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = LoadedVersions(sqlite_store, Runtime("cpu"))
    here = threading.current_thread()
    threads: list[bool] = []
    load = loaded_versions.load

    def noted(*args: Any) -> Servable:
        threads.append(threading.current_thread() is here)
        return load(*args)

    monkeypatch.setattr(loaded_versions, "load", noted)
    manifests = [
        tiny.make_manifest(sqlite_store.blobs, backbone_seed=backbone, head_seed=head)
        for backbone, head in ((1, 1), (1, 2), (2, 1))
    ]
    first, head, other = (tiny.publish(sqlite_store, manifest) for manifest in manifests)
    for number, is_here in ((first, True), (head, True), (other, False)):
        threads.clear()
        loaded.load(number)
        assert set(threads) == {is_here}


def test_version_that_two_threads_want_is_loaded_once(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = LoadedVersions(sqlite_store, Runtime("cpu"))
    number = publish(sqlite_store, 1)
    num_loads: list[int] = []
    load = loaded_versions.load

    def slowly(*args: Any) -> Servable:
        num_loads.append(1)
        time.sleep(0.3)
        return load(*args)

    monkeypatch.setattr(loaded_versions, "load", slowly)
    first, second = in_threads(2, lambda _: loaded.load(number))
    assert first is second
    assert len(num_loads) == 1


def test_version_that_cannot_be_loaded_is_recorded_as_lost_until_it_can(
    sqlite_store: Store,
) -> None:
    number = publish(sqlite_store, 1)
    with sqlite_store.db.read() as conn:
        digest = versions.get(conn, number).backbone
    content = sqlite_store.blobs.get(digest)
    sqlite_store.blobs.delete(digest)
    with pytest.raises(BlobMissing):
        LoadedVersions(sqlite_store, Runtime("cpu")).load(number)
    with sqlite_store.db.read() as conn:
        assert lost_blobs.read(conn).keys() == {digest}
    sqlite_store.blobs.put(content)
    LoadedVersions(sqlite_store, Runtime("cpu")).load(number)
    with sqlite_store.db.read() as conn:
        assert lost_blobs.read(conn) == {}
