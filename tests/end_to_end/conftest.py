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
    """A server of the module, with its `NUM_WORKERS`; without a trainer unless its `SETTINGS`, the
    environment of the server, say otherwise."""
    home = tmp_path_factory.mktemp("server") / "home"
    settings = {"EVERGREEN_RUN_TRAINER": "false", **getattr(request.module, "SETTINGS", {})}
    with running(home, workers=request.module.NUM_WORKERS, **settings) as started:
        yield started


@pytest.fixture(scope="module")
def store(server: Server) -> Iterator[Store]:
    """The store of the module's server."""
    opened = open_store(Settings(home=server.home))
    yield opened
    opened.db.close()
