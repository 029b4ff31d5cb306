"""Swaps as clients see them: three workers, constant requests, one champion after another."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import httpx
import pytest

from core.registry.promotions import ACTIVATION_LEAD_S
from core.store.store import Store
from tests.end_to_end import tagged_versions
from tests.end_to_end.consistency_clients import ConsistencyClients
from tests.support.server import Server

pytestmark = pytest.mark.end_to_end

NUM_WORKERS = 3


@pytest.fixture
def clients(server: Server, store: Store) -> Iterator[ConsistencyClients]:
    with ConsistencyClients(server, store) as started:
        yield started


def change_to(server: Server, clients: ConsistencyClients, number: int) -> None:
    clients.expect(number)
    answer = httpx.put(f"{server.url}/v1/champion", json={"version": number}, timeout=60)
    assert answer.status_code == 200, answer.text
    clients.until_every_worker_answers_with(number)


def test_swap_fails_no_request_and_gives_no_mixed_or_older_answer(
    server: Server, store: Store, clients: ConsistencyClients
) -> None:
    backbones = (1, 1, 2, 1)
    numbers = [tagged_versions.publish(store, backbone_seed=seed) for seed in backbones]
    # Heads alone, heads with their backbones, back to an older one, and the large version 1.
    for number in (*numbers, 1, numbers[0]):
        change_to(server, clients, number)
        assert clients.problems == []


def test_activation_time_is_chosen_when_the_last_worker_is_ready(
    server: Server, store: Store
) -> None:
    """A time that is chosen earlier may pass before every worker knows it."""
    for seed in (5, 6, 7):
        number = tagged_versions.publish(store, backbone_seed=seed)
        httpx.put(
            f"{server.url}/v1/champion", json={"version": number}, timeout=60
        ).raise_for_status()
        activation = tagged_versions.newest_activation(store)
        loads = [
            datetime.datetime.fromisoformat(str(line["time"])).timestamp()
            for line in tagged_versions.events(server, "version.loaded")
            if line["version"] == number
        ]
        assert len(loads) == NUM_WORKERS
        assert max(loads) <= activation.created_at


def test_rollback_loads_nothing_and_waits_for_its_activation_time_only(
    server: Server, store: Store, clients: ConsistencyClients
) -> None:
    before, after = (tagged_versions.publish(store, backbone_seed=seed) for seed in (3, 4))
    change_to(server, clients, before)
    change_to(server, clients, after)
    champion = httpx.get(f"{server.url}/v1/champion", timeout=30).json()
    assert champion["previous"] == before
    change_to(server, clients, champion["previous"])
    assert clients.problems == []
    loads = tagged_versions.count_by_worker(server, "version.loaded", before)
    assert sorted(loads.values()) == [1] * NUM_WORKERS
    activation = tagged_versions.newest_activation(store)
    assert activation.version == before
    assert activation.activate_at - activation.created_at == pytest.approx(
        ACTIVATION_LEAD_S, abs=1e-3
    )
