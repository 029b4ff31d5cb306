from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.settings import Settings
from core.store.store import Store, open_store
from tests.support.server import Server, running


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Of the module's own, with as many workers as it names; nothing trains."""
    home = tmp_path_factory.mktemp("server") / "home"
    with running(
        home, workers=request.module.NUM_WORKERS, EVERGREEN_RUN_TRAINER="false"
    ) as started:
        yield started


@pytest.fixture(scope="module")
def store(server: Server) -> Iterator[Store]:
    """What the module's server keeps its state in."""
    opened = open_store(Settings(home=server.home))
    yield opened
    opened.db.close()
