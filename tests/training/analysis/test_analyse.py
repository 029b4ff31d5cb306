"""An analysis of a real version: what it finds, stores and refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.class_names import NONE_OF_THESE
from core.erasure.erase import Eraser
from core.errors import NotEnoughLabels
from core.inputs.kind import Limits
from core.labelling import embeddings, intake
from core.labelling.intake import LabelRequest
from core.models.pretrained import starter
from core.registry.bootstrap import ensure_first_version
from core.retention.policy import RetentionPolicy
from core.review import analyses, insights
from core.review.analyses import AnalysisCache, AnalysisRow
from core.review.analysis import Analysis
from core.settings import Settings
from core.store.store import Store, open_store
from tests.support.digits import Digit
from tests.training.digits_store import all_digits, digits_of, label, retrain
from training.analysis import analyse as analyse_module
from training.analysis.analyse import analyse_newest
from training.recipe import Recipe
from training.worker.trainer import Trainer

# Slow: trains heads. Not in `make check`.
pytestmark = pytest.mark.slow


def read(store: Store) -> tuple[AnalysisRow, Analysis]:
    found = AnalysisCache(store).get()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def _trained_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = Settings(home=tmp_path_factory.mktemp("trained") / "home", device="cpu")
    store = open_store(settings)
    ensure_first_version(store, starter.NAME)
    label(store, digits_of("zero", "one", "two", "three")[:160])
    assert retrain(store, Trainer(store, Recipe(), settings)).version == 2
    store.db.close()
    return settings.home


@pytest.fixture
def trained(_trained_home: Path, settings: Settings) -> Iterator[Store]:
    """160 digits of four classes, and version 2."""
    shutil.copytree(_trained_home, settings.home)
    store = open_store(settings)
    yield store
    store.db.close()


def test_each_example_is_scored_and_placed(trained: Store) -> None:
    assert analyse_newest(trained, Recipe()) == 2
    row, analysis = read(trained)
    assert row.version == 2
    assert len(analysis) == len(analysis.point_M) == 160
    assert (np.diff(analysis.example_id_N) > 0).all()
    assert (analysis.predicted_N == analysis.label_N).mean() > 0.75
    assert (analysis.predicted_N >= 0).all()
    assert 0 < analysis.is_held_out_N.sum() < 60
    probability_N = analysis.label_probability_N.astype(np.float64)
    assert probability_N[analysis.predicted_N == analysis.label_N].mean() > 0.7
    assert 0.5 < np.nanmedian(analysis.similarity_N) < 1
    assert 0 < analysis.is_unfamiliar_N.mean() < 0.2
    assert np.abs(analysis.position_M2).max() == 1
    assert analyse_newest(trained, Recipe()) is None, "once is enough"


def test_curve_rises_and_its_forecast_goes_on(trained: Store) -> None:
    analyse_newest(trained, Recipe())
    with trained.db.read() as conn:
        curve = insights.learning_curve(conn)
    accuracy = [point["accuracy"] for point in curve["points"]]
    assert accuracy[0] < accuracy[-1]
    assert [point["labels"] for point in curve["forecast"]] == [320, 640]
    assert curve["forecast"][0]["accuracy"] >= accuracy[-1] - 0.02
    assert curve["verdict"] in ("worth it", "levelling off")
    assert len(curve["classes"]) == 4
    assert sum(each["examples"] for each in curve["classes"]) == 160
    gains = [each["gain_expected"] for each in curve["classes"]]
    assert gains == sorted(gains, reverse=True)


def test_starter_is_not_analysed(starter_store: Store) -> None:
    assert analyse_newest(starter_store, Recipe()) is None


def test_wrong_labels_are_the_least_probable(starter_store: Store, trainer: Trainer) -> None:
    photos = digits_of("zero", "one", "two")[:120]
    wrong = {7, 40, 71}
    other = {"zero": "one", "one": "two", "two": "zero"}
    given = [
        Digit(photo.image, other[photo.label]) if i in wrong else photo
        for i, photo in enumerate(photos)
    ]
    results = label(starter_store, given)
    retrain(starter_store, trainer)
    analyse_newest(starter_store, Recipe())
    _, analysis = read(starter_store)
    least = analysis.example_id_N[np.argsort(analysis.label_probability_N, kind="stable")[:6]]
    assert {results[i].event.example_id for i in wrong} <= set(least.tolist())


def test_small_class_and_none_of_these_are_placed_and_not_scored(
    starter_store: Store, trainer: Trainer
) -> None:
    photos = digits_of("zero", "one")[:60]
    label(starter_store, photos)
    label(starter_store, digits_of("seven")[:1])
    strangers = [Digit(photo.image, NONE_OF_THESE) for photo in digits_of("four")[:8]]
    label(starter_store, strangers)
    retrain(starter_store, trainer)
    analyse_newest(starter_store, Recipe())
    row, analysis = read(starter_store)
    unscored = analysis.label_N[analysis.predicted_N < 0]
    assert {analysis.names[i] for i in unscored} == {"seven", NONE_OF_THESE}
    assert np.isnan(analysis.label_probability_N[analysis.predicted_N < 0]).all()
    known = row.summary["known_unknowns"]
    assert known["examples"] == 8
    assert known["unfamiliar_share"] > 0.1
    classes = row.summary["learning_curve"]["classes"]
    assert (classes[0]["name"], classes[0]["accuracy"]) == ("seven", None)
    assert NONE_OF_THESE not in {each["name"] for each in classes}


def test_curve_is_carried_over_until_a_tenth_more_is_trained(
    starter_store: Store, trainer: Trainer
) -> None:
    photos = digits_of("zero", "one", "two")[:160]
    computed = []
    for part in (photos[:100], photos[100:106], photos[106:130]):
        label(starter_store, part)
        retrain(starter_store, trainer)
        analyse_newest(starter_store, Recipe())
        computed.append(read(starter_store)[0].summary["learning_curve"])
    assert computed[0]["computed_at"] == computed[1]["computed_at"] < computed[2]["computed_at"]
    examples = [sum(each["examples"] for each in curve["classes"]) for curve in computed]
    assert examples == [100, 106, 130], "classes are counted anew"


def test_map_keeps_its_direction(starter_store: Store, trainer: Trainer) -> None:
    photos = digits_of("zero", "one", "two")[:140]
    positions = []
    for part in (photos[:100], photos[100:]):
        label(starter_store, part)
        retrain(starter_store, trainer)
        analyse_newest(starter_store, Recipe())
        positions.append(read(starter_store)[1].position_M2[:100].astype(np.float64))
    assert np.abs(positions[0] - positions[1]).mean() < 0.15


def test_analysis_of_what_is_erased_meanwhile_is_dropped(
    trained: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    eraser = Eraser(trained, RetentionPolicy(), settings.home / "cache", lambda image: 0)
    find_out = analyse_module._find_out

    def erase_first(*args: object) -> Analysis:
        eraser.erase_example(5, "bob")
        return find_out(*args)  # type: ignore[arg-type]

    before = set(trained.blobs.digests())
    with monkeypatch.context() as patch:
        patch.setattr(analyse_module, "_find_out", erase_first)
        assert analyse_newest(trained, Recipe()) is None
    assert set(trained.blobs.digests()) <= before
    with trained.db.read() as conn:
        assert analyses.newest(conn) is None
    assert analyse_newest(trained, Recipe()) == 2
    assert 5 not in read(trained)[1].example_id_N


def test_erasure_deletes_the_analyses_that_have_the_example(
    trained: Store, settings: Settings
) -> None:
    analyse_newest(trained, Recipe())
    row, _ = read(trained)
    late = intake.label_image(
        trained, all_digits()[701].image, LabelRequest("one"), Limits(), time.time()
    )
    eraser = Eraser(trained, RetentionPolicy(), settings.home / "cache", lambda image: 0)
    assert eraser.erase_example(late.event.example_id, "bob").receipt["analyses"] == 0
    assert eraser.erase_example(7, "bob").receipt["analyses"] == 1
    assert not trained.blobs.has(row.digest)
    with trained.db.read() as conn:
        assert analyses.newest(conn) is None
    assert analyse_newest(trained, Recipe()) == 2
    assert 7 not in read(trained)[1].example_id_N


def test_child_process_analyses_and_ends(trained: Store, settings: Settings) -> None:
    environment = os.environ | {"EVERGREEN_HOME": str(settings.home), "EVERGREEN_DEVICE": "cpu"}
    command = [sys.executable, "-m", "training", "--one-analysis"]
    subprocess.run(command, env=environment, check=True, timeout=120)
    assert read(trained)[0].version == 2


def test_analysis_as_a_child_ends_with_its_parent(trained: Store, settings: Settings) -> None:
    environment = os.environ | {"EVERGREEN_HOME": str(settings.home), "EVERGREEN_DEVICE": "cpu"}
    command = [sys.executable, "-m", "training", "--one-analysis", "--stop-with-parent"]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode == 0
    with trained.db.read() as conn:
        assert analyses.newest(conn) is None, "it did not end, and has analysed"


def test_version_whose_examples_have_no_embeddings_cannot_be_analysed(
    trained: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "get", lambda *_: {})
    with pytest.raises(NotEnoughLabels, match="version 2"):
        analyse_newest(trained, Recipe())
