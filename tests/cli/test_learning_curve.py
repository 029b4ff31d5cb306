"""`evergreen learning-curve`."""

from __future__ import annotations

import json

import pytest

from core.review import analyses
from core.review.analyses import AnalysisRow
from core.settings import load_settings
from core.store.store import open_store
from tests.cli.conftest import Run
from tests.service.api.test_insights import CURVE


@pytest.fixture
def analysed(home: object) -> None:
    store = open_store(load_settings())
    with store.db.write() as conn:
        analyses.add(conn, AnalysisRow(3, "0" * 64, 1, 9, {"learning_curve": CURVE}, 5.0))
    store.db.close()


def test_curve_says_what_is_missing(run: Run, home: object) -> None:
    open_store(load_settings()).db.close()
    result = run("learning-curve")
    assert result.exit_code == 0
    assert "nothing is labelled yet" in " ".join(result.stdout.split())


def test_curve_and_classes_are_tables_and_the_verdict_a_sentence(run: Run, analysed: None) -> None:
    printed = run("learning-curve").stdout
    assert "71.0 %" in printed
    assert "expected" in printed
    assert CURVE["text"] in printed
    assert "<b>" in printed


def test_curve_as_json_has_what_the_service_answers(run: Run, analysed: None) -> None:
    curve = json.loads(run("learning-curve", "--json").stdout)
    assert curve["points"] == CURVE["points"]
    assert curve["computed_at"].startswith("1970-01-01T00:00:05")
    assert curve.keys() == {
        *("version", "computed_at", "points", "forecast", "verdict", "text", "classes")
    }


def test_version_says_what_it_finds_of_known_unknowns(run: Run, home: object) -> None:
    store = open_store(load_settings())
    summary = {"known_unknowns": {"examples": 8, "unfamiliar_share": 0.75}}
    with store.db.write() as conn:
        analyses.add(conn, AnalysisRow(1, "0" * 64, 1, 9, summary, 5.0))
    store.db.close()
    printed = " ".join(run("versions", "1").stdout.split())
    assert "Of 8 images that are none of these, it finds 75.0 % unfamiliar." in printed
