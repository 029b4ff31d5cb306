"""Versions whose files are lost: found, recorded, skipped by a rollback, and back again."""

from __future__ import annotations

import pytest

from core.errors import NotReady, PromotionFailed
from core.registry import rollback, version_files, versions
from core.registry.versions import Version
from core.store import lost_blobs
from core.store.store import Store
from tests.support import tiny


def publish(store: Store, number: int) -> Version:
    """A version with a head of its own, which becomes champion."""
    tiny.publish(store, tiny.make_manifest(store.blobs, head_seed=number))
    tiny.activate(store, number)
    with store.db.read() as conn:
        return versions.get(conn, number)


def recorded(store: Store, *listed: Version) -> dict[int, dict[str, str]]:
    with store.db.read() as conn:
        return version_files.recorded_lost(conn, listed)


def test_missing_file_is_recorded_for_each_version_that_has_it(store: Store) -> None:
    first, second = publish(store, 1), publish(store, 2)
    assert version_files.note(store, first) == {}
    store.blobs.delete(first.backbone)
    store.blobs.delete(first.head)
    assert version_files.note(store, first).keys() == {"backbone.onnx", "head.onnx"}
    assert recorded(store, first, second) == {
        1: {"backbone.onnx": "missing", "head.onnx": "missing"},
        2: {"backbone.onnx": "missing"},
    }


def test_restored_file_is_not_lost_any_more(store: Store) -> None:
    version = publish(store, 1)
    content = store.blobs.get(version.head)
    store.blobs.delete(version.head)
    version_files.note(store, version)
    store.blobs.put(content)
    version_files.note(store, version)
    assert recorded(store, version) == {}


def test_damage_is_found_by_reading_and_recorded_until_it_is_read_whole(store: Store) -> None:
    version = publish(store, 1)
    content = store.blobs.get(version.head)
    path = store.blobs._path(version.head)  # type: ignore[attr-defined]
    path.write_bytes(b"damaged")
    assert version_files.find_lost(version, store) == {}
    version_files.note(store, version, thorough=True)
    version_files.note(store, version)
    assert recorded(store, version) == {1: {"head.onnx": "damaged"}}
    store.blobs.put(content)
    version_files.note(store, version, thorough=True)
    assert recorded(store, version) == {}


def test_version_without_its_manifest_is_described(store: Store) -> None:
    version = publish(store, 1)
    store.blobs.delete(version.manifest)
    found = version_files.describe(version_files.note(store, version))
    assert found == {"manifest.json": "missing"}


def test_rollback_skips_versions_that_cannot_be_loaded(store: Store) -> None:
    _, second, third, _ = (publish(store, number) for number in (1, 2, 3, 4))
    assert rollback.choose(store).version == 3
    store.blobs.delete(third.head)
    store.blobs.delete(second.manifest)
    chosen = rollback.choose(store)
    assert (chosen.version, chosen.live.version) == (1, 4)
    first, second_reason = chosen.skipped
    assert "version 3" in first
    assert "version 2" in second_reason
    with store.db.read() as conn:
        assert rollback.previous(conn) == 1


def test_rollback_says_why_there_is_none(store: Store) -> None:
    with pytest.raises(NotReady, match="no version has been champion"):
        rollback.choose(store)
    first = publish(store, 1)
    with pytest.raises(NotReady, match="version 1 is the first champion"):
        rollback.choose(store)
    publish(store, 2)
    store.blobs.delete(first.head)
    with pytest.raises(PromotionFailed, match=f"version 1 .*{first.head}"):
        rollback.choose(store)
    with store.db.read() as conn:
        assert rollback.previous(conn) is None


def test_rollbacks_go_back_one_after_the_other(store: Store) -> None:
    for number in (1, 2, 3):
        publish(store, number)
    tiny.activate(store, 2)
    assert rollback.choose(store).version == 1


def test_store_that_is_well_has_no_lost_blobs(store: Store) -> None:
    version = publish(store, 1)
    version_files.note(store, version, thorough=True)
    with store.db.read() as conn:
        assert lost_blobs.read(conn) == {}
