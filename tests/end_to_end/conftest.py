from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from core.settings import Settings
from core.store.store import Store, open_store
from tests.end_to_end.page import Page, open_browser
from tests.service.trained_home import COLOURS, tinted
from tests.support.server import Server, running

_NUM_OF_EACH = 12


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


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    started = open_browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.quit()


@pytest.fixture
def page(server: Server, browser: webdriver.Chrome) -> Page:
    """The page of the module's server, newly opened, at the view that opens first."""
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # clear what earlier tests logged
    opened = Page(browser, server)
    opened.open()
    return opened


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Photos of two classes, red and blue."""
    folder = tmp_path_factory.mktemp("photos")
    found: dict[str, list[Path]] = {}
    for k, name in enumerate(COLOURS):
        found[name] = [folder / f"{name}-{i}.png" for i in range(_NUM_OF_EACH)]
        for i, path in enumerate(found[name]):
            path.write_bytes(tinted(name, 1000 * k + i))
    return found
