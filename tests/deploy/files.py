"""The files of deploy/, and the pages about them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MONITORING = (ROOT / "docs/how-to/monitoring.md").read_text()
DEPLOYING = (ROOT / "docs/how-to/deploy.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FILES = [
    ROOT / "bentofile.yaml",
    *(DEPLOY / name for name in ("compose.yaml", "evergreen.service", "alerts.yml")),
]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]
