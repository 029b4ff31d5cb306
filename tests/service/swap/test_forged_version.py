"""A version that somebody without the key wrote into the store: no process serves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from core.errors import SignatureMismatch
from core.models.backbones import Runtime
from core.registry import promotions
from core.store.signer import Signer
from core.store.store import Store
from service.swap.loaded_versions import LoadedVersions
from tests.service.swap_worker import (
    SOON_S,
    Process,
    activate_behind_its_back,
    live,
    promote,
    publish_three,
    sample,
    state_of,
)
from tests.support import tiny
from tests.support.wait import wait_until


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    """Opened with the key. Versions 1 to 3 are signed, version 4 is forged, 1 is champion."""
    signing = publish_three(replace(sqlite_store, signer=Signer(b"k" * 32)))
    forger = replace(sqlite_store, signer=Signer(b"x" * 32))
    assert tiny.publish(forger, tiny.make_manifest(forger.blobs, head_seed=4)) == 4
    return signing


def test_forged_version_is_not_loaded(store: Store) -> None:
    loaded = LoadedVersions(store, Runtime("cpu"))
    loaded.load(3)
    with pytest.raises(SignatureMismatch):
        loaded.load(4)
    assert loaded.numbers == (3,)


@pytest.mark.slow
def test_promotion_of_a_forged_version_fails_and_the_champion_stays(
    store: Store, start: Callable[[], Process]
) -> None:
    processes = [start(), start()]
    failures = sample("evergreen_swap_failures_total")
    promotion = promote(store, 4)
    wait_until(lambda: state_of(store, promotion).state != "waiting", SOON_S)
    ended = state_of(store, promotion)
    assert ended.state == "failed"
    assert "version 4 is not signed with the key" in str(ended.error)
    assert all(process.answers_with(1) for process in processes)
    assert sample("evergreen_swap_failures_total") > failures
    with store.db.read() as conn:
        newest = promotions.newest_activation(conn)
    assert newest is not None
    assert newest.version == 1
    promote(store, 2)
    wait_until(lambda: all(process.answers_with(2) for process in processes), SOON_S)


@pytest.mark.slow
def test_activation_of_a_forged_version_is_not_followed(
    store: Store, start: Callable[[], Process]
) -> None:
    """Nor by a process that starts afterwards: it serves the champion before."""
    first = start()
    activate_behind_its_back(store, 4)
    wait_until(lambda: any(worker.failed for worker in live(store)), SOON_S)
    second = start()
    assert first.answers_with(1)
    assert second.answers_with(1)
    assert "not signed" in str([worker.failed for worker in live(store)])
