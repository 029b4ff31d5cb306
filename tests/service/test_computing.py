"""How much a process computes at once, and what it does while it waits for the store."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.answer import Answer
from core.errors import DeadlineExceeded
from core.servable import Scores
from core.settings import available_cores
from service import serving as serving_module
from service.admission import Deadline
from service.serving import Serving
from tests import images
from tests.service.conftest import settings_in

PHOTO = images.encode(images.scene(64, 64, seed=1), "PNG")
_WITHIN_S = 30.0


@pytest.fixture(scope="module")
def one_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One of as many processes as there are cores."""
    settings = settings_in(tmp_path_factory.mktemp("one"))
    started = Serving.start(settings.model_copy(update={"workers": available_cores()}))
    assert started.at_once == 1
    yield started
    started.stop()


def predict(
    serving: Serving, count: int, deadline: Deadline | None = None
) -> list[Answer | BaseException]:
    async def run() -> list[Answer | BaseException]:
        async with asyncio.timeout(_WITHIN_S):
            asked = [serving.predict(PHOTO, deadline) for _ in range(count)]
            return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(run())


def test_no_more_is_computed_at_once_than_cores_are_for_it(
    one_core: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    computing = 0
    most = 0
    see = serving_module.see

    def watched(*args: Any) -> Scores:
        nonlocal computing, most
        computing += 1
        most = max(most, computing)
        time.sleep(0.002)
        scores = see(*args)
        computing -= 1
        return scores

    monkeypatch.setattr(serving_module, "see", watched)
    assert all(isinstance(answer, Answer) for answer in predict(one_core, 12))
    assert most == 1


def test_the_next_is_computed_while_one_waits_for_the_store(
    one_core: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, put = threading.Event(), one_core.store.blobs.put

    def slow(content: bytes, *, durable: bool = True) -> str:
        if not kept.is_set():
            # Only the next one can end this.
            kept.set()
            assert computed_again.wait(_WITHIN_S)
        return put(content, durable=durable)

    computed_again, see = threading.Event(), serving_module.see

    def watched(*args: Any) -> Scores:
        if kept.is_set():
            computed_again.set()
        return see(*args)

    monkeypatch.setattr(one_core.store.blobs, "put", slow)
    monkeypatch.setattr(serving_module, "see", watched)
    assert all(isinstance(answer, Answer) for answer in predict(one_core, 2))


def test_a_deadline_that_passes_while_others_compute_stops_the_work(
    one_core: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(serving_module, "see", lambda *args: seen.append(args))
    deadline = Deadline.after(20)
    with one_core._cores:
        threading.Timer(0.05, one_core._cores.release).start()
        (found,) = predict(one_core, 1, deadline)
        one_core._cores.acquire()
    assert isinstance(found, DeadlineExceeded)
    assert not seen


def test_a_store_elsewhere_is_waited_for_by_many_at_once(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "home").model_copy(
        update={"blob_url": f"file://{tmp_path / 'blobs'}"}
    )
    serving = Serving.start(settings)
    together, put = threading.Barrier(8), serving.store.blobs.put

    def slow(content: bytes, *, durable: bool = True) -> str:
        together.wait(_WITHIN_S)
        return put(content, durable=durable)

    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(serving.store.blobs, "put", slow)
            assert all(isinstance(answer, Answer) for answer in predict(serving, 8))
    finally:
        serving.stop()
