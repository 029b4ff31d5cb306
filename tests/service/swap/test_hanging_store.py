"""A worker whose database does not answer: it hangs, as a frozen one does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from core.registry.latest import Latest, LatestPoller
from core.store.store import Store
from tests.service.swap_worker import Process, promote, publish_three
from tests.support.wait import wait_until

# Waits in real time: not in `make check`.
pytestmark = pytest.mark.slow


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    return publish_three(sqlite_store)


def test_poll_that_hangs_holds_up_no_request(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start()
    thawed = threading.Event()
    poll = LatestPoller.poll

    def frozen(poller: LatestPoller, *, is_certain: bool = False) -> Latest:
        thawed.wait(20)
        return poll(poller, is_certain=is_certain)

    with monkeypatch.context() as outage:
        outage.setattr(LatestPoller, "poll", frozen)
        wait_until(lambda: process.swap.is_stale)
        began = time.monotonic()
        process.swap.ensure_fresh()
        assert time.monotonic() - began < 10  # and not the 20 s of the outage
        assert not process.swap.is_stale
    thawed.set()
    promote(store, 2)
    wait_until(lambda: process.slot.version == 2)
