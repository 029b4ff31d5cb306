"""Any sequence of labels, retractions, runs, promotions and restarts agrees with a plain model."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from core.settings import Settings
from core.store.store import open_store
from tests.service.loop_machine import Loop
from tests.support import tiny

# With `CI` set, Hypothesis makes the same sequences each time.
BOUNDED = settings(
    max_examples=4,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose version 1 has the backbone of one kilobyte."""
    home = tmp_path_factory.mktemp("template")
    store = open_store(Settings(home=home))
    tiny.publish(store, tiny.make_manifest(store.blobs))
    tiny.activate(store, 1)
    store.db.close()
    return home


@pytest.fixture
def new_home(template: Path, tmp_path: Path) -> Callable[[], Path]:
    numbers = itertools.count()

    def copy() -> Path:
        return Path(shutil.copytree(template, tmp_path / str(next(numbers))))

    return copy


@pytest.mark.slow
@pytest.mark.timeout(900)  # runs train at idle priority, and other tests run beside
def test_any_sequence_of_steps_agrees_with_the_model(new_home: Callable[[], Path]) -> None:
    run_state_machine_as_test(lambda: Loop(new_home), settings=BOUNDED)
