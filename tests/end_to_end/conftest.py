from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.server import Server
from core.settings import Settings
from core.store import Store, open_store


@pytest.fixture(scope="module")
def store(server: Server) -> Iterator[Store]:
    """What the module's server keeps its state in."""
    opened = open_store(Settings(home=server.home))
    yield opened
    opened.db.close()
