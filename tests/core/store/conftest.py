from __future__ import annotations

from pathlib import Path

import pytest
from alembic.config import Config


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'evergreen.db'}"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


def migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", "core.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
