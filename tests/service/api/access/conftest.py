from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from core.access.roles import Role
from service.inference.serving_process import ServingProcess
from tests.service.access_clients import Headers, add_keys
from tests.service.conftest import client_of, settings_in
from tests.service.trained_home import start_with_the_starter


@pytest.fixture(scope="module")
def keyed_serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingProcess]:
    """A serving process that has keys: requests need one."""
    started = start_with_the_starter(settings_in(Path(tmp_path_factory.mktemp("keyed"))))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def as_role(keyed_serving: ServingProcess) -> dict[Role, Headers]:
    """The headers of a key of each role."""
    return add_keys(keyed_serving)


@pytest.fixture(scope="module")
def keyed(keyed_serving: ServingProcess, as_role: dict[Role, Headers]) -> Iterator[TestClient]:
    with client_of(keyed_serving) as opened:
        yield opened
