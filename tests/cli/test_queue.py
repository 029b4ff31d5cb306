"""`evergreen queue`: the same as the route shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`


def test_prediction_is_listed_until_it_is_labelled(home: Path, run: Run, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(images.png(40, 40, seed=1))
    run("predict", photo)
    listed = json.loads(run("queue", "--json").stdout)
    (item,) = listed["items"]
    assert (listed["by"], listed["waiting"], item["kind"]) == ("doubt", 1, "prediction")
    shown = run("queue").stdout
    assert item["id"] in shown
    assert "evergreen label PREDICTION LABEL" in shown
    assert "others were shown" in " ".join(run("queue", "--reviewer", "bob").stdout.split())
    run("label", item["id"], "cat")
    assert "no image waits for a label" in run("queue").stdout


def test_empty_queue_says_what_to_do(home: Path, run: Run) -> None:
    assert "no labels were analysed yet" in run("queue", "--by", "suspect").stdout
    assert "no image waits" in run("queue", "--by", "unfamiliar").stdout


def test_bad_option_is_an_input_error(home: Path, run: Run) -> None:
    assert run("queue", "--by", "chance").exit_code == 2
    assert run("queue", "--limit", 101).exit_code == 2
    assert run("queue", "--reviewer", "x" * 101).exit_code == 2


def test_no_home_is_created(no_home: Path, run: Run) -> None:
    assert run("queue").exit_code != 0
    assert not no_home.exists()
