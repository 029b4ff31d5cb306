from __future__ import annotations

from core.retention import lease
from core.store.store import Store


def acquire(store: Store, owner: str, now: float) -> bool:
    with store.db.write() as conn:
        return lease.acquire(conn, owner, now)


def test_one_process_sweeps_until_its_lease_ends(store: Store) -> None:
    assert acquire(store, "a", 100.0)
    assert acquire(store, "a", 110.0)
    assert not acquire(store, "b", 120.0)
    assert acquire(store, "b", 110.0 + lease.LEASE_S)
    assert not acquire(store, "a", 111.0 + lease.LEASE_S)


def test_released_lease_is_free_and_one_of_a_clock_set_back_too(store: Store) -> None:
    assert acquire(store, "a", 10_000.0)
    with store.db.write() as conn:
        lease.release(conn, "a")
    assert acquire(store, "b", 10_000.0)
    assert acquire(store, "a", 100.0)
