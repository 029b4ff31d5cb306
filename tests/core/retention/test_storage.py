"""What takes how much room, and how fast it grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.retention import doomed, storage
from core.retention.storage import Storage, Use
from core.store.store import Store
from tests.core.retention.swept_store import DAY, NOW, image, label, predict, sweeper_of
from tests.support import tiny


def record(store: Store, num_bytes: int, days: float) -> None:
    with store.db.write() as conn:
        storage.record(
            conn, [Use("other-images", num_bytes, 1), Use("cache", 5, 1)], NOW + days * DAY
        )


def read(store: Store) -> Storage:
    with store.db.read() as conn:
        return storage.read(conn)


def test_each_kind_is_measured(store: Store, tmp_path: Path) -> None:
    label(store, image(1))
    for content in (image(1), image(2), image(2)):
        predict(store, content)
    tiny.publish(store, tiny.plain_manifest(head=store.blobs.put(b"h" * 70)))
    with store.db.write() as conn:
        doomed.doom(conn, doomed.IMAGE, {"0" * 64: 7})
    (tmp_path / "cache" / "ort").mkdir(parents=True)
    (tmp_path / "cache" / "ort" / "model").write_bytes(bytes(11))
    uses = storage.measure(store, sweeper_of(store).files, tmp_path / "cache")
    found = {use.kind: (use.num_bytes, use.num_items) for use in uses}
    assert found["labelled-images"] == (len(image(1)), 1)
    assert found["other-images"] == (len(image(2)), 1)
    assert found["to-delete"] == (7, 1)
    assert found["versions"][0] > 70
    assert found["versions"][1] == 1
    assert found["database"][0] > 50_000
    assert found["cache"][0] == 11


def test_nothing_is_known_before_it_was_measured(store: Store) -> None:
    assert read(store) == Storage()
    assert read(store).days_until_full(10**9) is None


def test_growth_is_known_after_a_day(store: Store) -> None:
    record(store, 1000, 0)
    record(store, 1500, 0.5)
    assert read(store).growth_per_day is None
    record(store, 3000, 2.5)
    used = read(store)
    assert used.measured_at == NOW + 2.5 * DAY
    assert {use.kind: use.num_bytes for use in used.uses} == {"other-images": 3000, "cache": 5}
    assert used.growth_per_day == pytest.approx(1500 / 2)
    assert used.days_until_full(7500) == pytest.approx(10)
    assert used.days_until_full(None) is None


def test_growth_is_that_of_the_last_week(store: Store) -> None:
    for day in range(30):
        record(store, 1_000_000 - day if day < 15 else 1000 * day, day)
    used = read(store)
    assert used.growth_per_day == pytest.approx(1000)
    with store.db.read() as conn:
        assert len(conn.exec_driver_sql("SELECT DISTINCT day FROM storage_use").all()) == 8


def test_home_that_shrinks_is_never_full(store: Store) -> None:
    record(store, 1000, 0)
    record(store, 500, 2)
    assert read(store).days_until_full(10**9) is None
