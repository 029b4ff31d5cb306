"""GET /v1/stream, at the ASGI that a server speaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from core import leases, runs
from core.access import keys
from core.access.roles import Role
from core.audit import SERVICE
from core.exchange.importing import jobs
from core.ids import new_id
from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.store.store import Store
from service.api.status import streams
from service.inference.serving_process import ServingProcess
from tests.service.access_clients import add_key
from tests.service.conftest import app_of, client_of
from tests.service.stream_follower import following
from tests.support import images, tiny

pytestmark = pytest.mark.slow  # not in `make check`


def run(serving: ServingProcess, test: Callable[[Any], Awaitable[None]]) -> None:
    """Afterwards no task is left."""

    async def main() -> None:
        await test(app_of(serving))
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def label(store: Store, seed: int, name: str = "cat") -> int:
    image = images.png(48, 48, seed)
    given = intake.label_image(store, image, LabelRequest(name), Limits(), time.time())
    return given.event.id


def without_what_is_always_new(status: dict[str, Any]) -> dict[str, Any]:
    for worker in status["workers"]:
        del worker["last_seen"]
    del status["clock"]["offset_seconds"], status["disk"]["free_bytes"]
    del status["storage"]["days_until_full"]
    return status


def test_stream_begins_with_the_status_as_its_route_has_it(serving: ServingProcess) -> None:
    expected = client_of(serving).get("/v1/status").json()

    async def test(app: Any) -> None:
        async with following(app) as follower:
            assert follower.status == 200
            assert follower.headers["content-type"].startswith("text/event-stream")
            assert follower.headers["cache-control"] == "no-store"
            assert follower.headers["x-accel-buffering"] == "no"
            status = await follower.next("status")
            assert list(status) == list(expected)
            assert without_what_is_always_new(status) == without_what_is_always_new(expected)

    run(serving, test)


def test_label_arrives_within_a_second_and_nothing_repeats(serving: ServingProcess) -> None:
    async def test(app: Any) -> None:
        async with following(app) as follower:
            before = await follower.next("status")
            await follower.next("labels")
            assert await follower.silence(1.0) == []
            began = time.monotonic()
            newest = await asyncio.to_thread(label, serving.store, 1)
            after = await follower.next("status")
            assert after["labels"]["waiting"] == before["labels"]["waiting"] + 1
            assert await follower.next("labels") == {"newest": newest}
            assert time.monotonic() - began < 1.0
            assert await follower.silence(1.0) == []

    run(serving, test)


def test_progress_of_a_run_and_the_swap_arrive(serving: ServingProcess) -> None:
    now, db = time.time(), serving.store.db

    def start_a_run() -> None:
        with db.write() as conn:
            wanted, _ = runs.request(conn, trigger="request", now=now)
            assert leases.claim(conn, "trainer", now) is not None
            assert leases.beat(conn, wanted.id, "trainer", now, "embedding", 0.5)

    def finish_it() -> None:
        with db.write() as conn:
            (running,) = runs.unfinished(conn)
            leases.finish(conn, running.id, "trainer", now=now, state="failed", error="no reason")
        tiny.publish(serving.store, tiny.make_manifest(serving.store.blobs))

    async def test(app: Any) -> None:
        async with following(app) as follower:
            await follower.next("status")
            await asyncio.to_thread(start_a_run)
            while not (status := await follower.next("status"))["runs"]:
                pass
            assert status["runs"][0]["step"] in ("waiting", "embedding")
            await asyncio.to_thread(finish_it)
            while (await follower.next("status"))["runs"]:
                pass
            client = client_of(serving)
            await asyncio.to_thread(client.put, "/v1/champion", json={"version": 2})
            while (await follower.next("status"))["version"] != 2:
                pass
            await asyncio.to_thread(client.put, "/v1/champion", json={"version": 1})

    run(serving, test)


def test_import_arrives_as_it_moves_and_when_it_ends(serving: ServingProcess) -> None:
    db, import_id = serving.store.db, new_id()

    def write(work: Callable[..., object], *values: Any, **options: Any) -> None:
        with db.write() as conn:
            work(conn, *values, **options)

    async def test(app: Any) -> None:
        async with following(app) as follower:
            await follower.next("status")
            await asyncio.to_thread(
                partial(write, jobs.add, import_id, layout="auto", by=SERVICE, now=time.time()),
                **{"name": "photos.zip", "num_bytes": 5, "who": "ann", "host": "elsewhere"},
            )
            found = await follower.next("import")
            assert (found["id"], found["state"], found["name"]) == (
                *(import_id, "waiting"),
                "photos.zip",
            )
            await asyncio.to_thread(write, jobs.cancel, import_id, SERVICE, time.time())
            assert (await follower.next("import"))["state"] == "cancelled"
            assert await follower.silence(1.0) == []

    run(serving, test)


def test_client_that_reads_nothing_gets_the_newest_state_later(serving: ServingProcess) -> None:
    async def test(app: Any) -> None:
        async with following(app) as follower:
            await follower.next("status")
            await follower.next("labels")
            follower.reads.clear()
            for seed in range(10, 14):
                newest = await asyncio.to_thread(label, serving.store, seed)
                await asyncio.sleep(0.4)
            follower.reads.set()
            found = await follower.silence(1.0)
            # The one that it was being sent, and the newest.
            assert len([name for name, _ in found if name == "labels"]) <= 2
            assert found[-1] == ("labels", {"newest": newest}) or found[-2][1] == {"newest": newest}

    run(serving, test)


def test_stream_beyond_the_limit_is_refused(
    serving: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_STREAMS", 1)

    async def test(app: Any) -> None:
        async with following(app), following(app) as second:
            assert second.status == 503
            assert second.headers["retry-after"] == "1"

    run(serving, test)


def test_drain_ends_the_stream(serving: ServingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(app: Any) -> None:
        async with following(app) as follower:
            await follower.next("status")
            monkeypatch.setattr(serving.drain, "is_on", True)
            await follower.ended()

    run(serving, test)


def test_revoked_key_ends_the_stream_within_seconds(serving: ServingProcess) -> None:
    valid = add_key(serving.store, "stays", Role.ADMIN)
    revoked = add_key(serving.store, "goes", Role.PREDICT)
    serving.key_ring.renew().result(5)

    def revoke() -> None:
        with serving.store.db.write() as conn:
            keys.revoke(conn, "goes", time.time(), SERVICE)

    async def test(app: Any) -> None:
        async with following(app, valid) as other, following(app, revoked) as follower:
            assert (other.status, follower.status) == (200, 200)
            await follower.next("status")
            await asyncio.to_thread(revoke)
            await follower.ended()
            newest = await asyncio.to_thread(label, serving.store, 30)
            while (await other.next("labels"))["newest"] != newest:
                pass
        async with following(app, revoked) as again:
            assert again.status == 401

    run(serving, test)
