"""The release of Evergreen that runs."""

from __future__ import annotations

import functools
import importlib.metadata
import tomllib
from pathlib import Path

DISTRIBUTION = "evergreen-classifier"


@functools.cache
def release() -> str:
    """A checkout and a Bento carry pyproject.toml beside the code, and in a Bento's image nothing
    is installed; an installed package has only its metadata."""
    path = Path(__file__).parents[1] / "pyproject.toml"
    if path.exists():
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == DISTRIBUTION:
            return str(project["version"])
    return importlib.metadata.version(DISTRIBUTION)
