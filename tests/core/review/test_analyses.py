"""The stored analyses."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from core import erased
from core.review import analyses
from core.review.analyses import AnalysisCache, AnalysisRow
from core.review.analysis import Analysis
from core.store.store import Store
from tests.core.review.test_analysis import make_analysis


def add(store: Store, version: int = 1, analysis: Analysis | None = None) -> AnalysisRow:
    content = (analysis or make_analysis()).to_bytes()
    digest = store.blobs.put(content)
    row = AnalysisRow(version, digest, len(content), 10 * version, {"at": version}, 1.5)
    with store.db.write() as conn:
        analyses.add(conn, row)
    return row


def test_newest_analysis_is_that_of_the_newest_version(store: Store) -> None:
    with store.db.read() as conn:
        assert analyses.newest(conn) is None
    row = add(store, 12)
    add(store, 3)
    with store.db.read() as conn:
        assert analyses.newest(conn) == row


def test_another_analysis_of_a_version_replaces_the_first(store: Store) -> None:
    add(store, 2)
    other = make_analysis()
    other.example_id_N[0] = 4
    row = add(store, 2, other)
    with store.db.read() as conn:
        assert analyses.newest(conn) == row


def test_cache_reads_each_file_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = AnalysisCache(store)
    assert cache.get() is None
    row = add(store)
    found = cache.get()
    assert found is not None
    assert found[0] == row
    np.testing.assert_array_equal(found[1].example_id_N, [3, 7])
    store.blobs.delete(row.digest)
    again = cache.get()
    assert again is not None
    assert again[1] is found[1]


def test_cache_follows_a_newer_analysis_and_forgets_a_deleted_one(sqlite_store: Store) -> None:
    cache = AnalysisCache(sqlite_store)
    add(sqlite_store)
    cache.get()
    other = make_analysis()
    other.example_id_N[0] = 4
    add(sqlite_store, 2, other)
    found = cache.get()
    assert found is not None
    assert found[1].example_id_N[0] == 4
    with sqlite_store.db.write() as conn:
        conn.exec_driver_sql("DELETE FROM analyses")
    assert cache.get() is None


@pytest.mark.parametrize("damage", ["missing", "damaged", "foreign"])
def test_lost_analysis_reads_as_none_and_is_logged_once(
    sqlite_store: Store, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    row = add(sqlite_store)
    sqlite_store.blobs.put(b"another file, so that the store is not empty")
    if damage == "missing":
        sqlite_store.blobs.delete(row.digest)
    elif damage == "damaged":
        sqlite_store.blobs.put(b"cut off", digest=row.digest)
    else:
        digest = sqlite_store.blobs.put(b"of another release")
        with sqlite_store.db.write() as conn:
            analyses.add(conn, AnalysisRow(9, digest, 18, 1, {}, 2.0))
    cache = AnalysisCache(sqlite_store)
    with caplog.at_level(logging.WARNING):
        assert cache.get() is None
        assert cache.get() is None
    assert [each.message for each in caplog.records] == ["analysis.unreadable"]


def test_analysis_of_labels_that_were_erased_since_is_not_added(store: Store) -> None:
    row = replace(add(store, 1), version=2)
    with store.db.read() as conn:
        before = erased.newest_id(conn)
    with store.db.write() as conn:
        values = {"image": "a" * 64, "created_at": 1.0, "receipt": {}}
        after = erased.add(conn, **values).id
    assert not analyses.add_unless_erased(store.db, row, before)
    assert analyses.add_unless_erased(store.db, row, after)
    assert not analyses.add_unless_erased(store.db, row, after), "the version has one"
    with store.db.read() as conn:
        assert analyses.newest(conn) == row
