from __future__ import annotations

import pytest

from core.settings import Settings
from core.system.host import available_cores
from service.processes import placement


@pytest.mark.parametrize(
    ("asked", "num_gpus", "expected"),
    [(0, 0, available_cores()), (0, 1, 1), (0, 4, 4), (3, 0, 3), (3, 1, 3)],
)
def test_num_workers_is_that_of_the_gpus_or_else_of_the_cores(
    asked: int, num_gpus: int, expected: int
) -> None:
    assert placement.num_workers(Settings(workers=asked), num_gpus) == expected


def test_workers_share_the_gpus_evenly() -> None:
    assert [placement.gpu_of(index, 2) for index in (1, 2, 3, 4)] == [0, 1, 0, 1]
    assert [placement.gpu_of(index, 0) for index in (None, 1, 2)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("workers", "num_gpus", "cores", "expected"),
    [
        *((0, 0, 16, 1), (4, 0, 16, 4), (1, 0, 2, 2), (1, 0, 1, 1), (32, 0, 16, 1)),
        *((0, 1, 16, 16), (0, 4, 16, 4), (8, 1, 16, 2), (0, 1, 1, 2)),
    ],
)
def test_workers_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, workers: int, num_gpus: int, cores: int, expected: int
) -> None:
    monkeypatch.setattr("core.settings.available_cores", lambda: cores)
    assert placement.num_compute_threads(Settings(workers=workers), num_gpus, cores) == expected


def test_what_waits_for_others_has_threads_of_its_own() -> None:
    embedded = Settings()
    assert placement.num_io_threads(embedded, is_batching=False) == 0
    assert placement.num_io_threads(embedded, is_batching=True) > 0
    for elsewhere in ({"blob_url": "s3://bucket"}, {"database_url": "postgresql://host/name"}):
        settings = Settings.model_validate(elsewhere)
        assert placement.num_io_threads(settings, is_batching=False) >= 8
