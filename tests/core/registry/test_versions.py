from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import ChecksumMismatch, SpecMismatch, UnknownVersion, VersionTaken
from core.registry import versions
from core.registry.versions import VersionRef
from core.store.store import Store
from tests.support import tiny
from tests.support.concurrency import overlapping


def test_numbers_count_up_from_one(store: Store) -> None:
    with store.db.read() as conn:
        assert versions.newest_number(conn) is None
    assert [tiny.publish(store) for _ in range(3)] == [1, 2, 3]
    with store.db.read() as conn:
        assert versions.newest_number(conn) == 3


def test_published_version_has_its_manifest_and_the_reason_of_the_gate(store: Store) -> None:
    manifest = tiny.plain_manifest(
        run_id="run", parent=1, classes=("cat", "猫"), snapshot=12, metrics={"accuracy": 0.97}
    )
    gate = {"promote": False, "reason": "no better"}
    number = tiny.publish(store, manifest, gate)
    with store.db.read() as conn:
        version = versions.get(conn, number)
    assert (version.run_id, version.parent, version.classes) == ("run", 1, ("cat", "猫"))
    assert (version.snapshot, version.metrics, version.gate) == (12, {"accuracy": 0.97}, gate)
    assert not version.passed_gate
    kept = versions.read_manifest(version, store)
    assert kept.version == number
    assert (kept.backbone, kept.head) == (version.backbone, version.head)


def test_manifest_that_was_tampered_with_is_refused(sqlite_store: Store) -> None:
    store = sqlite_store
    number = tiny.publish(store)
    with store.db.read() as conn:
        version = versions.get(conn, number)
    path = store.blobs._path(version.manifest)  # type: ignore[attr-defined]
    path.write_bytes(path.read_bytes().replace(b"cat", b"cow"))
    with pytest.raises(ChecksumMismatch):
        versions.read_manifest(version, store)


@pytest.mark.parametrize(
    ("name", "value"),
    [("classes", ("dog", "cat")), ("backbone", "c" * 64), ("head", "c" * 64)],
)
def test_manifest_that_differs_from_its_version_is_refused(
    sqlite_store: Store, name: str, value: object
) -> None:
    store = sqlite_store
    number = tiny.publish(store)
    digest = store.blobs.put(tiny.plain_manifest(**{name: value}).to_bytes())
    with store.db.read() as conn:
        version = replace(versions.get(conn, number), manifest=digest)
    with pytest.raises(SpecMismatch, match=name):
        versions.read_manifest(version, store)


def test_versions_published_concurrently_never_share_a_number(store: Store) -> None:
    """PostgreSQL refuses the second; SQLite makes it wait for the first."""
    try:
        overlapping(
            store.db,
            lambda conn: versions.publish(conn, store, tiny.plain_manifest(), tiny.PASSED),
            lambda conn: versions.publish(conn, store, tiny.plain_manifest(), tiny.PASSED),
        )
    except VersionTaken:
        assert not store.db.is_sqlite
    with store.db.read() as conn:
        numbers = [version.number for version in versions.listing(conn, limit=10)]
    assert numbers == ([2, 1] if store.db.is_sqlite else [1])


def test_one_run_publishes_one_version(store: Store) -> None:
    tiny.publish(store, tiny.plain_manifest(run_id="run"))
    with pytest.raises(VersionTaken):
        tiny.publish(store, tiny.plain_manifest(run_id="run"))
    with store.db.read() as conn:
        found = versions.by_run(conn, "run")
        assert versions.by_run(conn, "another") is None
    assert found is not None
    assert found.number == 1


@pytest.mark.parametrize("number", [0, -1, 2, 2**31, 10**20])
def test_error_for_an_unknown_version_names_the_known_ones(store: Store, number: int) -> None:
    with store.db.read() as conn, pytest.raises(UnknownVersion, match="none is published yet"):
        versions.get(conn, number)
    tiny.publish(store)
    with store.db.read() as conn, pytest.raises(UnknownVersion, match="there are 1 to 1"):
        versions.get(conn, number)


@pytest.mark.parametrize(
    ("before", "numbers"),
    [(None, [5, 4]), (5, [4, 3]), (2, [1]), (1, []), (-(10**20), []), (10**20, [5, 4])],
)
def test_versions_are_listed_by_pages_newest_first(
    store: Store, before: int | None, numbers: list[int]
) -> None:
    for _ in range(5):
        tiny.publish(store)
    with store.db.read() as conn:
        found = versions.listing(conn, limit=2, before=before)
    assert [version.number for version in found] == numbers


def test_refs_are_of_existing_versions_only(store: Store) -> None:
    for _ in range(3):
        tiny.publish(store)
    with store.db.read() as conn:
        found = versions.get_refs(conn, [1, 3, 4, 0, -1, 2**40])
        assert found == {n: VersionRef(n, versions.get(conn, n).backbone) for n in (1, 3)}


def test_versions_held_back_since_are_listed_newest_first(store: Store) -> None:
    held_back = {"promote": False, "reason": "no better"}
    for created_at, gate in (
        (9.0, held_back),
        (10.0, held_back),
        (11.0, held_back),
        (12.0, {"promote": True}),
        (13.0, held_back),
    ):
        tiny.publish(store, tiny.plain_manifest(created_at=created_at), gate)
    with store.db.read() as conn:
        for moment, limit, numbers in ((10.0, 20, [5, 3]), (0.0, 2, [5]), (13.0, 20, [])):
            found = versions.held_back_since(conn, moment, limit)
            assert [version.number for version in found] == numbers
