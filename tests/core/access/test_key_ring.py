from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection

from core.access import key_ring, keys
from core.access.key_ring import KeyRing
from core.access.roles import Role
from core.errors import StoreError
from core.store.database import Database
from core.store.store import Store
from tests.support.wait import wait_until


@pytest.fixture
def ring(store: Store) -> Iterator[KeyRing]:
    made = KeyRing(store.db)
    yield made
    made.stop()


def add(store: Store, name: str = "camera", **options: Any) -> str:
    with store.db.write() as conn:
        return keys.add(conn, name, Role.PREDICT, now=time.time(), **options)[1]


def test_change_is_in_force_within_a_second_in_every_process(store: Store, ring: KeyRing) -> None:
    ring.renew().result(5)
    assert not ring.has_keys
    key = add(store)
    # What another process of the service does when its last read is too old.
    other = KeyRing(store.db)
    for each in (ring, other):
        each.renew().result(5)
        assert each.has_keys
        found = each.find(key, time.time())
        assert found is not None
        assert found.name == "camera"
    with store.db.write() as conn:
        keys.revoke(conn, "camera", time.time())
    for each in (ring, other):
        each.renew().result(5)
        assert each.find(key, time.time()) is None
        assert each.has_keys  # so that nobody is let in without a key
    other.stop()
    assert key_ring.FRESH_S + key_ring.PATIENCE_S < 1


def test_read_is_stale_after_half_a_second(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ring.is_stale
    ring.renew().result(5)
    assert not ring.is_stale
    monkeypatch.setattr(key_ring, "time", Clock(key_ring.FRESH_S + 0.01))
    assert ring.is_stale


def test_wrong_secret_unknown_and_expired_keys_are_not_found(store: Store, ring: KeyRing) -> None:
    key = add(store, expires_at=time.time() + 100)
    ring.renew().result(5)
    assert ring.find(key, time.time())
    assert ring.find(key[:-8] + "00000000", time.time()) is None
    assert ring.find(keys.new_key(), time.time()) is None
    assert ring.find("", time.time()) is None
    assert ring.find(key, time.time() + 101) is None


def test_known_keys_go_on_working_without_the_database_for_a_day(
    store: Store, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = add(store)
    ring.renew().result(5)
    monkeypatch.setattr(store.db, "read", _unavailable)
    ring.renew().result(5)
    assert not ring.is_stale  # the next request does not try again
    assert ring.find(key, time.time())
    monkeypatch.setattr(key_ring, "time", Clock(key_ring.KEPT_S + 1))
    with pytest.raises(StoreError, match="too long ago"):
        ring.find(key, time.time())


def test_requests_share_a_read_that_hangs(
    store: Store, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    read = store.db.read

    @contextlib.contextmanager
    def hanging() -> Iterator[Connection]:
        go_on.wait(10)
        with read() as conn:
            yield conn

    monkeypatch.setattr(store.db, "read", hanging)
    first = ring.renew()
    assert ring.renew() is first
    ring.go_on()
    assert not ring.is_stale
    go_on.set()
    first.result(5)


def test_key_of_the_file_needs_no_database(store: Store) -> None:
    key = keys.new_key()
    row = keys.Key(keys.id_of(key) or "", keys.digest_of(key), "file", Role.ADMIN)
    ring = KeyRing(store.db, row)
    assert ring.has_keys
    assert ring.find(key, time.time()) is row
    ring.renew().result(5)
    assert ring.find(key, time.time()) is row


def test_last_use_is_written_once_a_minute(store: Store, ring: KeyRing) -> None:
    key = add(store)
    ring.renew().result(5)
    ring.find(key, 1000.0)
    ring.renew().result(5)
    wait_until(lambda: _last_used(store.db) == 1000.0)
    with store.db.write() as conn:
        keys.note_use(conn, keys.id_of(key) or "", 1001.0)
    assert _last_used(store.db) == 1000.0


def _last_used(db: Database) -> float | None:
    with db.read() as conn:
        return keys.listing(conn)[0].last_used_at


def _unavailable() -> Any:
    raise StoreError("gone")


class Clock:
    """`time`, so many seconds later."""

    def __init__(self, later_s: float) -> None:
        self._later_s = later_s

    def monotonic(self) -> float:
        return time.monotonic() + self._later_s
