from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.database import Database
from core.store.store import Store, open_store
from tests.training.digits_store import all_digits, label
from training.recipe import Recipe
from training.worker.trainer import Trainer


@pytest.fixture
def school_store(sqlite_store: Store) -> Store:
    ensure_first_version(sqlite_store)
    return sqlite_store


@pytest.fixture(scope="session")
def _home_with_700_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("taught") / "home"
    store = open_store(Settings(home=home, device="cpu"))
    ensure_first_version(store)
    label(store, all_digits()[:700])
    store.db.close()
    return home


@pytest.fixture
def taught_store(_home_with_700_labels: Path, settings: Settings) -> Iterator[Store]:
    """700 digits are labelled, about 130 of them held out; nothing is trained yet."""
    shutil.copytree(_home_with_700_labels, settings.home)
    store = open_store(settings)
    yield store
    store.db.close()


@pytest.fixture
def trainer(school_store: Store, settings: Settings) -> Trainer:
    return Trainer(school_store, Recipe(), settings)


@pytest.fixture
def idle_writers(monkeypatch: pytest.MonkeyPatch) -> set[bool]:
    """Whether the threads that begin writing transactions have idle priority (sched(7))."""
    found: set[bool] = set()

    def noting(write: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **options: Any) -> Any:
            found.add(hasattr(os, "SCHED_IDLE") and os.sched_getscheduler(0) == os.SCHED_IDLE)
            return write(*args, **options)

        return noted

    for name in ("write", "execute_once"):
        monkeypatch.setattr(Database, name, noting(getattr(Database, name)))
    return found


@pytest.fixture
def one_thread() -> Iterator[None]:
    """With one thread, torch adds up in the same order each time."""
    torch = pytest.importorskip("torch", reason="the training extra is not installed")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def task() -> Any:
    from tests.training.tiny_task import small_task  # which needs torch

    return small_task()
