from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.photo_folder import write_photos

pytestmark = pytest.mark.slow  # not in `make check`


def test_diff_shows_change_intervals_and_flips(home: Path, tmp_path: Path, run: Run) -> None:
    run("import", write_photos(tmp_path / "album", per_class=30))
    assert run("retrain", "--wait").exit_code == 0
    result = run("versions", "diff", 1, 2)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "mended" in result.stdout
    diff = json.loads(run("versions", "diff", 1, 2, "--json").stdout)
    assert diff["overall"]["judged"] == sum(c["judged"] for c in diff["classes"].values()) > 0
    assert diff["overall"]["before"] == 0
    assert len(diff["flips"]) == diff["overall"]["judged"] * diff["overall"]["after"]
    assert run("versions", "diff", 2, 2).exit_code == 0
    assert run("versions", "diff", 2, 99).exit_code == 2
    result = run("versions", "confusion", 1)
    assert result.exit_code == 0, result.output
    assert "No held-out example has a class that is known here" in result.stderr
    found = json.loads(run("versions", "confusion", 2, "--json").stdout)
    assert found["judged"] == diff["overall"]["judged"]
    assert found["accuracy"] == diff["overall"]["after"]
    assert sum(map(sum, found["matrix"])) == found["judged"]
    assert "is right in" in run("versions", "confusion", 2).stdout
