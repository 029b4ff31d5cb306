"""The streams of a process, without a database: what a client is sent, and when the task ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import Overloaded
from service.api.status import streams as module
from service.api.status.feed import Events
from service.api.status.streams import HEARTBEAT, Stream, Streams
from service.processes.drain import Drain


class Feed:
    """Says what it is told to say, each once."""

    made: list[Feed]

    def __init__(self, serving: Any) -> None:
        self.to_say: list[Events] = [{"status": b"first "}]
        self.made.append(self)

    def poll(self) -> Events:
        events = self.to_say.pop(0) if self.to_say else {}
        if b"broken" in events.values():
            raise RuntimeError("broken")
        return events


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Feed, "made", [], raising=False)
    monkeypatch.setattr(module, "StatusFeed", Feed)
    monkeypatch.setattr(module, "POLL_EVERY_S", 0.005)
    monkeypatch.setattr(module, "CHECK_ACCESS_EVERY_S", 0.01)
    monkeypatch.setattr(module, "HEARTBEAT_EVERY_S", 0.05)


async def admitted() -> bool:
    return True


async def refused() -> bool:
    return False


def run(test: Callable[[Streams, Any], Awaitable[None]]) -> None:
    async def main() -> None:
        serving = SimpleNamespace(drain=Drain(0.0, 1.0))
        await test(Streams(), serving)
        await asyncio.sleep(0)  # what was cancelled ends
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


async def rest_of(stream: Stream) -> list[bytes]:
    """What comes until it ends, without heartbeats."""
    found = []
    while (content := await asyncio.wait_for(stream.take(), 5)) is not None:
        found.append(content)
    return [content for content in found if content != HEARTBEAT]


def test_change_reaches_every_stream_and_silence_is_a_heartbeat() -> None:
    async def test(streams: Streams, serving: Any) -> None:
        first, second = (streams.open(serving, admitted) for _ in range(2))
        assert [await stream.take() for stream in (first, second)] == [b"first "] * 2
        (feed,) = Feed.made
        feed.to_say.append({"labels": b"labels "})
        assert [await stream.take() for stream in (first, second)] == [b"labels "] * 2
        assert await first.take() == HEARTBEAT
        third = streams.open(serving, admitted)
        assert await third.take() == b"first labels "  # without a poll for it
        for stream in (first, second, third):
            streams.close(stream)

    run(test)


def test_slow_client_gets_the_newest_of_each_event() -> None:
    async def test(streams: Streams, serving: Any) -> None:
        stream = streams.open(serving, admitted)
        assert await stream.take() == b"first "
        (feed,) = Feed.made
        feed.to_say = [{"status": b"status %d " % n, "labels": b"labels "} for n in range(20)]
        while feed.to_say:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        assert await stream.take() == b"status 19 labels "
        streams.close(stream)

    run(test)


def test_imports_are_for_those_who_may_see_them_and_old_ones_for_nobody() -> None:
    async def test(streams: Streams, serving: Any) -> None:
        may = streams.open(serving, admitted, sees_imports=True)
        may_not = streams.open(serving, admitted, sees_imports=False)
        assert [await stream.take() for stream in (may, may_not)] == [b"first "] * 2
        (feed,) = Feed.made
        feed.to_say.append({"import 1": b"one ", "import 2": b"two "})
        assert await may.take() == b"one two "
        assert await may_not.take() == HEARTBEAT
        late = streams.open(serving, admitted, sees_imports=True)
        assert await late.take() == b"first "
        for stream in (may, may_not, late):
            streams.close(stream)

    run(test)


def test_polling_ends_with_the_last_stream_and_begins_anew() -> None:
    async def test(streams: Streams, serving: Any) -> None:
        assert not streams.is_polling
        first, second = (streams.open(serving, admitted) for _ in range(2))
        await first.take()
        streams.close(first)
        assert streams.is_polling
        streams.close(second)
        assert not streams.is_polling
        third = streams.open(serving, admitted)
        assert await third.take() == b"first "  # of a new feed, not an old state
        assert len(Feed.made) == 2
        streams.close(third)

    run(test)


def test_stream_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STREAMS", 2)

    async def test(streams: Streams, serving: Any) -> None:
        first, second = (streams.open(serving, admitted) for _ in range(2))
        with pytest.raises(Overloaded, match=r"2 streams open.*/v1/status"):
            streams.open(serving, admitted)
        streams.close(first)
        third = streams.open(serving, admitted)
        for stream in (second, third):
            streams.close(stream)

    run(test)


def test_streams_end_when_the_process_drains() -> None:
    async def test(streams: Streams, serving: Any) -> None:
        stream = streams.open(serving, admitted)
        assert await stream.take() == b"first "
        serving.drain.is_on = True
        assert await rest_of(stream) == []
        late = streams.open(serving, admitted)
        assert await rest_of(late) == [b"first "]  # it comes back elsewhere
        for each in (stream, late):
            streams.close(each)

    run(test)


def test_stream_of_a_revoked_key_ends_and_others_go_on() -> None:
    async def test(streams: Streams, serving: Any) -> None:
        revoked, valid = streams.open(serving, refused), streams.open(serving, admitted)
        assert await rest_of(revoked) == [b"first "]
        streams.close(revoked)
        assert await valid.take() == b"first "
        assert await valid.take() == HEARTBEAT
        streams.close(valid)

    run(test)


def test_streams_end_if_the_poll_breaks(caplog: pytest.LogCaptureFixture) -> None:
    async def test(streams: Streams, serving: Any) -> None:
        stream = streams.open(serving, admitted)
        await asyncio.sleep(0.01)
        Feed.made[0].to_say.append({"status": b"broken"})
        assert await rest_of(stream) == [b"first "]
        streams.close(stream)

    run(test)
    assert "stream.failed" in caplog.text
