"""Versions that saw what was erased: which are listed, and when each is retired."""

from __future__ import annotations

import pytest

from core import runs
from core.erased import Erasure
from core.labelling import retractions
from core.labelling.label_request import LabelRequest
from core.registry import promotions, rollback, versions
from core.retention.policy import CapturePolicy, RetentionPolicy
from core.retention.sweep import Sweeper
from core.store.blobs import sha256
from core.store.store import Store
from tests.core.erasure.erasing import eraser
from tests.core.labelled_store import OTHER, label
from tests.support import tiny

pytestmark = pytest.mark.slow  # not in `make check`

AT_ONCE = RetentionPolicy(erased_versions="at-once")
NEXT = RetentionPolicy(erased_versions="next-promotion")
NEVER = RetentionPolicy(erased_versions="never")


def publish(store: Store, snapshot: int, seed: int, **fields: object) -> None:
    references = store.blobs.put(f"references {seed}".encode())
    manifest = tiny.make_manifest(
        store.blobs, head_seed=seed, snapshot=snapshot, references=references, **fields
    )
    tiny.publish(store, manifest)


@pytest.fixture
def seen(store: Store) -> Store:
    """Version 1 saw nothing. 2 and 3 saw both examples, and 3 is the champion after 1 and 2."""
    label(store)
    label(store, LabelRequest("dog"), OTHER)
    for number, snapshot in ((1, 0), (2, 2), (3, 2)):
        publish(store, snapshot, number)
        tiny.activate(store, number)
    return store


def retired(store: Store) -> list[int]:
    with store.db.read() as conn:
        rows = versions.listing(conn, limit=100)
    return sorted(row.number for row in rows if row.retired_at is not None)


def sweep(store: Store, policy: RetentionPolicy) -> None:
    list(Sweeper(store, CapturePolicy(), policy).sweep(store.db.clock()))


def fates(erasure: Erasure) -> dict[int, str]:
    return {each["version"]: each["fate"] for each in erasure.receipt["versions"]}


def has_references(store: Store, number: int) -> bool:
    return store.blobs.has(sha256(f"references {number}".encode()))


def test_by_default_they_go_when_another_version_was_promoted(seen: Store) -> None:
    erasure = eraser(seen, NEXT).erase_example(1, "bob")
    assert fates(erasure) == {3: "retired-after-promotion", 2: "retired-after-promotion"}
    assert any("version 3, 2" in text for text in erasure.receipt["remains"])
    sweep(seen, NEXT)
    assert retired(seen) == []
    publish(seen, 3, 4)
    tiny.activate(seen, 4)
    sweep(seen, NEXT)
    assert retired(seen) == [2, 3]
    assert [has_references(seen, n) for n in (1, 2, 3, 4)] == [True, False, False, True]


def test_at_once_all_but_the_champion_go_and_a_run_is_requested(seen: Store) -> None:
    erasure = eraser(seen, AT_ONCE).erase_example(1, "bob")
    assert fates(erasure) == {3: "retired-after-promotion", 2: "retired"}
    assert retired(seen) == [2]
    assert not has_references(seen, 2)
    with seen.db.read() as conn:
        [run] = runs.unfinished(conn)
    assert (run.tier, run.trigger) == ("head", "erasure")
    publish(seen, 3, 4)
    tiny.activate(seen, 4)
    sweep(seen, AT_ONCE)
    assert retired(seen) == [2, 3]


def test_never_keeps_and_lists_them(seen: Store) -> None:
    assert fates(eraser(seen, NEVER).erase_example(1, "bob")) == {3: "kept", 2: "kept"}
    publish(seen, 3, 4)
    tiny.activate(seen, 4)
    sweep(seen, NEVER)
    assert retired(seen) == []


def test_promoted_or_named_versions_stay(seen: Store) -> None:
    eraser(seen, AT_ONCE).erase_example(1, "bob")
    publish(seen, 3, 4)
    tiny.activate(seen, 4)
    with seen.db.write() as conn:
        promotions.request(conn, 3, who="ann", why="", now=seen.db.clock())
    sweep(seen, AT_ONCE)
    assert retired(seen) == [2]


def test_pending_promotion_of_a_version_that_saw_it_is_withdrawn(seen: Store) -> None:
    tiny.activate(seen, 1)
    with seen.db.write() as conn:
        wanted = promotions.request(conn, 2, who="ann", why="", now=seen.db.clock())
    eraser(seen, NEXT).erase_example(1, "bob")
    with seen.db.read() as conn:
        ended = promotions.promotion(conn, wanted.id)
    assert (ended.state, ended.error) == ("failed", "an example that it saw was erased")
    sweep(seen, NEXT)
    assert retired(seen) == [2, 3]


def test_rollback_skips_what_was_retired(seen: Store) -> None:
    eraser(seen, AT_ONCE).erase_example(1, "bob")
    chosen = rollback.choose(seen)
    assert chosen.version == 1
    assert "version 2 is retired" in chosen.skipped[0]
    with seen.db.read() as conn:
        assert rollback.previous(conn) == 1


def test_versions_on_a_backbone_that_was_tuned_with_it_are_listed(seen: Store) -> None:
    with seen.db.write() as conn:
        run, _ = runs.request(conn, trigger="request", now=1.0, tier="blocks")
    publish(seen, 2, 4, run_id=run.id, backbone_seed=7, tier="blocks", backbone_snapshot=2)
    retractions.retract(seen, 1, who="ann", now=1.0)
    publish(seen, 3, 5, backbone_seed=7)
    erasure = eraser(seen, NEXT).erase_example(1, "bob")
    listed = {each["version"]: each["by"] for each in erasure.receipt["versions"]}
    assert listed == {5: "backbone", 4: "examples", 3: "examples", 2: "examples"}
    assert fates(erasure)[5] == "kept"
    assert any("evergreen retrain --blocks" in text for text in erasure.receipt["remains"])
