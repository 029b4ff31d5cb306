"""How much a process computes at once, and what it does while it waits for the store."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core import predictions
from core.errors import DeadlineExceeded
from core.models.servable import Scores
from core.predict import PredictionResult
from core.system.host import available_cores
from service.inference import predictor as serving_module
from service.inference.predictor import Serving
from service.traffic.admission import Deadline
from tests.service.conftest import settings_in
from tests.support import images

PHOTO = images.encode(images.scene(64, 64, seed=1), "PNG")
_WITHIN_S = 30.0


@pytest.fixture(scope="module")
def one_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One of as many processes as there are cores."""
    with serving_in(tmp_path_factory.mktemp("one")) as started:
        yield started


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The same, and its blobs are not in its home folder."""
    blobs = tmp_path_factory.mktemp("blobs")
    with serving_in(tmp_path_factory.mktemp("home"), blob_url=f"file://{blobs}") as started:
        yield started


@contextlib.contextmanager
def serving_in(home: Path, **changes: str) -> Iterator[Serving]:
    changed = {"workers": available_cores(), **changes}
    started = Serving.start(settings_in(home).model_copy(update=changed))
    assert started.at_once == 1
    yield started
    started.stop()


def predict(
    serving: Serving, count: int, deadline: Deadline | None = None
) -> list[PredictionResult | BaseException]:
    async def run() -> list[PredictionResult | BaseException]:
        async with asyncio.timeout(_WITHIN_S):
            asked = [serving.predict(PHOTO, deadline) for _ in range(count)]
            return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(run())


def test_no_more_is_computed_at_once_than_cores_are_for_it(
    one_core: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    computing = 0
    most = 0
    see = serving_module.score_image

    def watched(*args: Any) -> Scores:
        nonlocal computing, most
        computing += 1
        most = max(most, computing)
        time.sleep(0.002)
        scores = see(*args)
        computing -= 1
        return scores

    monkeypatch.setattr(serving_module, "score_image", watched)
    assert all(isinstance(answer, PredictionResult) for answer in predict(one_core, 12))
    assert most == 1


def test_a_deadline_that_passes_while_others_compute_stops_the_work(one_core: Serving) -> None:
    ended = threading.Event()
    began: list[str] = []

    async def run() -> None:
        first = asyncio.create_task(one_core.compute(ended.wait, _WITHIN_S))
        await asyncio.sleep(0)  # it has the one thread
        deadline = Deadline.after(20)
        late = asyncio.create_task(one_core.compute(began.append, "late", deadline=deadline))
        await asyncio.sleep(0.05)
        ended.set()
        assert await first
        with pytest.raises(DeadlineExceeded):
            await late

    asyncio.run(run())
    assert not began


def test_images_are_kept_by_the_thread_that_computed_them(
    one_core: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of a warm core is left behind where the store answers at once."""
    threads: list[set[str]] = []

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        names: set[str] = set()
        threads.append(names)

        def call(*args: Any, **options: Any) -> Any:
            names.add(threading.current_thread().name)
            return function(*args, **options)

        return call

    monkeypatch.setattr(serving_module, "score_image", watched(serving_module.score_image))
    monkeypatch.setattr(one_core.store.blobs, "put", watched(one_core.store.blobs.put))
    monkeypatch.setattr(predictions, "add", watched(predictions.add))
    assert all(isinstance(answer, PredictionResult) for answer in predict(one_core, 12))
    seen, kept, recorded = threads
    assert len(seen) == 1
    assert seen == kept == recorded


def test_the_next_is_computed_while_one_waits_for_a_store_elsewhere(
    elsewhere: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    see, put = serving_module.score_image, elsewhere.store.blobs.put
    seen: list[Scores] = []
    all_seen = threading.Event()

    def watched(*args: Any) -> Scores:
        seen.append(see(*args))
        if len(seen) == 2:
            all_seen.set()
        return seen[-1]

    def slow(content: bytes, *, durable: bool = True) -> str:
        assert all_seen.wait(_WITHIN_S)
        return put(content, durable=durable)

    monkeypatch.setattr(serving_module, "score_image", watched)
    monkeypatch.setattr(elsewhere.store.blobs, "put", slow)
    assert all(isinstance(answer, PredictionResult) for answer in predict(elsewhere, 2))


def test_a_store_elsewhere_is_waited_for_by_many_at_once(
    elsewhere: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, put = threading.Barrier(8), elsewhere.store.blobs.put

    def slow(content: bytes, *, durable: bool = True) -> str:
        together.wait(_WITHIN_S)
        return put(content, durable=durable)

    monkeypatch.setattr(elsewhere.store.blobs, "put", slow)
    assert all(isinstance(answer, PredictionResult) for answer in predict(elsewhere, 8))
