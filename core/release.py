"""The release of Evergreen."""

from __future__ import annotations

import functools
import importlib.metadata
import tomllib
from pathlib import Path

DISTRIBUTION = "evergreen-classifier"


@functools.cache
def release() -> str:
    """Return the running release, such as 0.1.0.

    A checkout and a Bento have pyproject.toml next to the code; an installed package has metadata.
    """
    path = Path(__file__).parents[1] / "pyproject.toml"
    if path.exists():
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == DISTRIBUTION:
            return str(project["version"])
    return importlib.metadata.version(DISTRIBUTION)
