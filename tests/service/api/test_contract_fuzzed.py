"""Requests that schemathesis makes from the contract: each answer is one that the contract has, and
what breaks the contract is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.inference.serving_process import ServingProcess
from tests.service.http_server import listening

# Over a thousand requests.
pytestmark = pytest.mark.slow

CONFIG = Path(__file__).with_name("schemathesis.toml")


def test_every_answer_is_one_that_the_contract_has(serving: ServingProcess, tmp_path: Path) -> None:
    with listening(serving) as port:
        contract = f"http://127.0.0.1:{port}/openapi.json"
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)]
        found = subprocess.run(
            [*command, "run", contract, "--checks", "all", "--continue-on-failure", "--no-color"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr
    # All but the stream, whose answer has no end.
    selected = re.search(r"Selected: (\d+)/(\d+)\n", found.stdout)
    assert selected is not None
    assert int(selected[1]) == int(selected[2]) - 1
