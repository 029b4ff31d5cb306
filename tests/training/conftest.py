from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.models.pretrained import starter
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.database import Database
from core.store.store import Store, open_store
from tests.training.digits_store import all_digits, label
from training.recipe import Recipe
from training.worker.trainer import Trainer


@pytest.fixture
def starter_store(sqlite_store: Store) -> Store:
    """A store whose champion is version 1, the starter."""
    ensure_first_version(sqlite_store, starter.NAME)
    return sqlite_store


@pytest.fixture(scope="session")
def _home_with_700_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("labelled") / "home"
    store = open_store(Settings(home=home, device="cpu"))
    ensure_first_version(store, starter.NAME)
    label(store, all_digits()[:700])
    store.db.close()
    return home


@pytest.fixture
def labelled_store(_home_with_700_labels: Path, settings: Settings) -> Iterator[Store]:
    """A store with 700 labelled digits, of which about 130 are held out, and no trained version."""
    shutil.copytree(_home_with_700_labels, settings.home)
    store = open_store(settings)
    yield store
    store.db.close()


@pytest.fixture
def trainer(starter_store: Store, settings: Settings) -> Trainer:
    return Trainer(starter_store, Recipe(), settings)


@pytest.fixture
def idle_writers(monkeypatch: pytest.MonkeyPatch) -> set[bool]:
    """Whether the threads that begin a write transaction run at idle priority, SCHED_IDLE."""
    is_idle: set[bool] = set()

    def noting(write: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **options: Any) -> Any:
            is_idle.add(hasattr(os, "SCHED_IDLE") and os.sched_getscheduler(0) == os.SCHED_IDLE)
            return write(*args, **options)

        return noted

    for name in ("write", "execute_once"):
        monkeypatch.setattr(Database, name, noting(getattr(Database, name)))
    return is_idle


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Make the sums of torch have the same order in each test."""
    torch = pytest.importorskip("torch", reason="the training extra is not installed")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def task() -> Any:
    from tests.training.tiny_task import small_task  # which needs torch

    return small_task()
