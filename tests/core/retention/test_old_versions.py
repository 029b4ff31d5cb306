"""Versions: which are retired, and that nothing which may be needed loses a file."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from sqlalchemy import select

from core import leases, runs
from core.errors import VersionRetired
from core.labelling import embeddings
from core.registry import promotions, version_files, versions, workers
from core.retention.policy import RetentionPolicy
from core.retention.versions import MIN_VERSIONS
from core.store import schema
from core.store.blobs import Blobs
from core.store.store import Store
from tests.core import promotions as support
from tests.core.retention.swept_store import DAY, NOW, image, label, sweep, sweeper_of
from tests.support import tiny

pytestmark = pytest.mark.slow  # not in `make check`

NUM = MIN_VERSIONS + 10


class _Quick:
    """Blobs without fsync, which would take most of the time of these tests."""

    def __init__(self, store: Store) -> None:
        self._blobs = store.blobs

    def put(self, content: bytes) -> str:
        return self._blobs.put(content, durable=False)


def publish_old(store: Store, number: int) -> None:
    """Publish versions that were made a year ago, each with a head of its own."""
    blobs = cast(Blobs, _Quick(store))
    quick = replace(store, blobs=blobs)
    with store.db.write() as conn:
        for i in range(number):
            manifest = tiny.plain_manifest(
                head=blobs.put(f"head {i}".encode()),
                backbone=blobs.put(f"backbone {i % 3}".encode()),
                created_at=NOW - 365 * DAY,
            )
            versions.publish(conn, quick, manifest, tiny.PASSED)


@pytest.fixture
def old_versions(sqlite_store: Store) -> Store:
    """Versions 1 to NUM. None is a champion."""
    publish_old(sqlite_store, NUM)
    return sqlite_store


def retired(store: Store) -> list[int]:
    with store.db.read() as conn:
        rows = versions.listing(conn, limit=1000)
    return sorted(row.number for row in rows if row.retired_at is not None)


def get(store: Store, number: int) -> versions.Version:
    with store.db.read() as conn:
        return versions.get(conn, number)


def test_old_versions_are_retired_but_the_first_and_the_newest(old_versions: Store) -> None:
    store = old_versions
    before = {number: get(store, number) for number in range(1, NUM + 1)}
    sweep(store)
    gone = retired(store)
    assert gone == list(range(2, NUM - MIN_VERSIONS + 1))
    for number, version in before.items():
        assert store.blobs.has(version.head) == (number not in gone)
        assert store.blobs.has(version.manifest) == (number not in gone)
        assert store.blobs.has(version.backbone)
    assert get(store, 2).retired_at == NOW
    sweep(store)
    assert retired(store) == gone


def test_retired_version_cannot_be_promoted_or_read(old_versions: Store) -> None:
    sweep(old_versions)
    with pytest.raises(VersionRetired, match="version 2 is retired"):
        tiny.activate(old_versions, 2)
    with pytest.raises(VersionRetired):
        version_files.check_loadable(2, old_versions)
    with pytest.raises(VersionRetired):
        versions.read_manifest(get(old_versions, 2), old_versions)


def test_champions_pending_named_and_loaded_versions_are_kept(old_versions: Store) -> None:
    store = old_versions
    tiny.activate(store, 3, NOW)
    tiny.activate(store, 4, NOW)
    now = time.time()
    with store.db.write() as conn:
        workers.report(conn, support.worker(ready=[6, 7], last_seen=now))
        promotions.request(conn, 5, who="ann", why="", now=now)
    sweeper = sweeper_of(store, named=(8,))
    # Versions are a year old, and the worker lives now.
    policy_now = now
    with store.db.write() as conn:
        conn.execute(schema.versions.update().values(created_at=now - 365 * DAY))
    list(sweeper.sweep(policy_now))
    assert not {1, 3, 4, 5, 6, 7, 8} & set(retired(store))
    assert {2, 9} <= set(retired(store))
    champion = get(store, 3)
    versions.read_manifest(champion, store)
    assert store.blobs.has(champion.head)


def test_too_many_versions_are_retired_although_they_are_young(old_versions: Store) -> None:
    policy = RetentionPolicy(version_days=0, max_versions=NUM - 3)
    sweep(old_versions, retention=policy)
    assert retired(old_versions) == [2, 3]


def test_files_that_a_kept_version_names_stay(old_versions: Store) -> None:
    store = old_versions
    shared, origin = get(store, 2).head, store.blobs.put(b"the pretrained backbone")
    newest = versions.read_manifest(get(store, NUM), store)
    tiny.publish(store, replace(newest, head=shared, tuned_from=origin))
    sweep(store)
    assert 2 in retired(store)
    assert store.blobs.has(shared)
    assert store.blobs.has(origin)


def test_files_wait_while_a_run_is_under_way(old_versions: Store) -> None:
    store = old_versions
    head = get(store, 2).head
    with store.db.write() as conn:
        run, _ = runs.request(conn, trigger="request", now=NOW)
        leases.claim(conn, "trainer", NOW)
    sweep(store)
    assert 2 in retired(store)
    assert store.blobs.has(head)
    with store.db.write() as conn:
        leases.finish(conn, run.id, "trainer", state="finished", now=NOW)
    sweep(store)
    assert not store.blobs.has(head)


def test_file_that_a_waiting_run_names_stays(old_versions: Store) -> None:
    store = old_versions
    head = get(store, 2).head
    with store.db.write() as conn:
        wanted = {"backbone": {"digest": head}}
        runs.request(conn, trigger="request", now=NOW, tier="backbone", wanted=wanted)
    sweep(store)
    assert store.blobs.has(head)


def test_embeddings_of_backbones_that_no_kept_version_has_go(old_versions: Store) -> None:
    store = old_versions
    label(store, image(1))
    vector = np.ones(4, np.float32)
    used = get(store, NUM).backbone
    with store.db.write() as conn:
        for backbone in (used, "0" * 64):
            embeddings.put(conn, backbone, [(1, vector)])
    sweep(store)
    with store.db.read() as conn:
        left = conn.execute(select(schema.embeddings.c.backbone)).scalars().all()
    assert left == [used]


@pytest.mark.postgres
def test_retiring_on_postgres(postgres_store: Store) -> None:
    store = postgres_store
    publish_old(store, NUM)
    head = get(store, 2).head
    sweep(store)
    assert retired(store) == list(range(2, NUM - MIN_VERSIONS + 1))
    assert not store.blobs.has(head)
