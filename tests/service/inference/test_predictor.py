"""How many images a process computes in parallel, and what it does while the store is slow."""

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
from core.inputs.pixels import decoding as pixels
from core.models.servable import Scores, Servable
from core.predict import PredictionResult
from core.system.host import available_cores
from service.inference.serving_process import ServingProcess
from service.traffic.admission import Deadline
from tests.service.conftest import settings_in
from tests.service.trained_home import start_with_the_starter
from tests.support import images

PHOTO = images.encode(images.scene(64, 64, seed=1), "PNG")
_WITHIN_S = 30.0


@pytest.fixture(scope="module")
def one_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingProcess]:
    """One of as many processes as there are cores."""
    with serving_in(tmp_path_factory.mktemp("one")) as started:
        yield started


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingProcess]:
    """The same, and its blobs are not in its home folder."""
    blobs = tmp_path_factory.mktemp("blobs")
    with serving_in(tmp_path_factory.mktemp("home"), blob_url=f"file://{blobs}") as started:
        yield started


@contextlib.contextmanager
def serving_in(home: Path, **changes: str) -> Iterator[ServingProcess]:
    changed = {"workers": available_cores(), **changes}
    started = start_with_the_starter(settings_in(home).model_copy(update=changed))
    assert started.predictor.max_parallel == 1
    yield started
    started.stop()


def predict(
    serving: ServingProcess, count: int, deadline: Deadline | None = None
) -> list[PredictionResult | BaseException]:
    async def run() -> list[PredictionResult | BaseException]:
        async with asyncio.timeout(_WITHIN_S):
            servable = await serving.predictor.servable()
            asked = [serving.predictor.predict(servable, PHOTO, deadline) for _ in range(count)]
            return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(run())


def test_images_in_parallel_are_limited_to_the_cores(
    one_core: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    computing = 0
    most = 0

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            nonlocal computing, most
            computing += 1
            most = max(most, computing)
            time.sleep(0.002)
            result = function(*args)
            computing -= 1
            return result

        return call

    monkeypatch.setattr(pixels, "decode", watched(pixels.decode))
    monkeypatch.setattr(Servable, "predict", watched(Servable.predict))
    assert all(isinstance(answer, PredictionResult) for answer in predict(one_core, 12))
    assert most == 1


def test_work_is_not_started_after_its_deadline(
    one_core: ServingProcess,
) -> None:
    ended = threading.Event()
    began: list[str] = []

    async def run() -> None:
        first = asyncio.create_task(one_core.predictor.compute(ended.wait, _WITHIN_S))
        await asyncio.sleep(0)  # it has the one thread
        deadline = Deadline.after(20)
        late = asyncio.create_task(
            one_core.predictor.compute(began.append, "late", deadline=deadline)
        )
        await asyncio.sleep(0.05)
        ended.set()
        assert await first
        with pytest.raises(DeadlineExceeded):
            await late

    asyncio.run(run())
    assert not began


def test_prediction_is_recorded_by_the_thread_that_computed_it(
    one_core: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread computes and records where the store is embedded."""
    threads: list[set[str]] = []

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        names: set[str] = set()
        threads.append(names)

        def call(*args: Any, **options: Any) -> Any:
            names.add(threading.current_thread().name)
            return function(*args, **options)

        return call

    monkeypatch.setattr(pixels, "decode", watched(pixels.decode))
    monkeypatch.setattr(Servable, "predict", watched(Servable.predict))
    monkeypatch.setattr(one_core.store.blobs, "put", watched(one_core.store.blobs.put))
    monkeypatch.setattr(predictions, "add", watched(predictions.add))
    assert all(isinstance(answer, PredictionResult) for answer in predict(one_core, 12))
    decoded, scored, stored, recorded = threads
    assert len(decoded) == 1
    assert decoded == scored == stored == recorded


def test_next_image_is_computed_while_one_waits_for_a_remote_store(
    elsewhere: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, put = Servable.predict, elsewhere.store.blobs.put
    scored: list[Scores] = []
    all_scored = threading.Event()

    def watched(*args: Any) -> Scores:
        scored.append(score(*args))
        if len(scored) == 2:
            all_scored.set()
        return scored[-1]

    def slow(*args: Any, **options: Any) -> str:
        assert all_scored.wait(_WITHIN_S)
        return put(*args, **options)

    monkeypatch.setattr(Servable, "predict", watched)
    monkeypatch.setattr(elsewhere.store.blobs, "put", slow)
    assert all(isinstance(answer, PredictionResult) for answer in predict(elsewhere, 2))
    assert elsewhere.recorder.unwell_since is None


def test_step_that_waits_is_an_error_in_one_thread(
    one_core: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(*_: Any) -> Any:
        await asyncio.sleep(1)

    monkeypatch.setattr(one_core.predictor, "_score", wait)
    (found,) = predict(one_core, 1)
    assert isinstance(found, RuntimeError)


def test_remote_store_is_written_concurrently(
    elsewhere: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, put = threading.Barrier(8), elsewhere.store.blobs.put

    def slow(*args: Any, **options: Any) -> str:
        together.wait(_WITHIN_S)
        return put(*args, **options)

    monkeypatch.setattr(elsewhere.store.blobs, "put", slow)
    assert all(isinstance(answer, PredictionResult) for answer in predict(elsewhere, 8))
    assert elsewhere.recorder.unwell_since is None
