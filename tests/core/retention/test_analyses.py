"""Analyses: the newest few are kept, and files go with their rows."""

from __future__ import annotations

from core.doctor import uses
from core.retention import analyses as old_analyses
from core.retention import doomed, storage
from core.retention.versions import Files
from core.review import analyses
from core.review.analyses import AnalysisRow
from core.store.store import Store
from tests.core.retention.swept_store import NOW, sweep, sweeper_of
from tests.core.review.test_analysis import make_analysis


def add(store: Store, version: int, snapshot: int) -> AnalysisRow:
    content = make_analysis().to_bytes(float(version))
    row = AnalysisRow(version, store.blobs.put(content), len(content), snapshot, {}, NOW)
    with store.db.write() as conn:
        analyses.add(conn, row)
    return row


def kept(store: Store) -> list[int]:
    with store.db.read() as conn:
        return [row.version for row in analyses.listing(conn)]


def test_sweep_keeps_the_newest_five(store: Store) -> None:
    rows = [add(store, version, 10) for version in range(2, 9)]
    planned = [swept for swept in sweeper_of(store).plan(NOW) if swept.kind == "analyses"]
    assert [swept.num_items for swept in planned] == [2]
    sweep(store)
    assert kept(store) == [8, 7, 6, 5, 4]
    assert [store.blobs.has(row.digest) for row in rows] == [False] * 2 + [True] * 5
    sweep(store)
    assert kept(store) == [8, 7, 6, 5, 4]


def test_analyses_that_have_an_event_go(store: Store) -> None:
    rows = [add(store, version, 10 * version) for version in (2, 3, 4)]
    with store.db.write() as conn:
        assert old_analyses.delete_since(conn, 30) == 2
    assert kept(store) == [2]
    doomed.delete_analyses(store, NOW)
    assert [store.blobs.has(row.digest) for row in rows] == [True, False, False]


def test_equal_analyses_have_files_of_their_own(sqlite_store: Store) -> None:
    assert add(sqlite_store, 2, 1).digest != add(sqlite_store, 3, 1).digest


def test_analyses_count_as_storage_and_are_known_to_the_doctor(sqlite_store: Store) -> None:
    row = add(sqlite_store, 2, 1)
    found = {use.kind: use for use in storage.measure(sqlite_store, Files(sqlite_store), None)}
    assert (found["analyses"].num_bytes, found["analyses"].num_items) == (row.num_bytes, 1)
    with sqlite_store.db.read() as conn:
        used, _ = uses.of_versions(conn, sqlite_store)
    assert [(use.text, use.is_needed) for use in used[row.digest]] == [
        ("analysis of version 2", False)
    ]
