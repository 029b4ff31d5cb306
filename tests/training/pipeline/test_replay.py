"""A version is trained again from its snapshot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from cli.__main__ import app
from core.errors import InvalidRequest
from core.labelling import labels, retractions
from core.models.manifest import Manifest
from core.registry import promotions, versions
from core.registry.versions import Version
from core.settings import Settings
from core.store.store import Store
from tests.training.digits_store import digits_of, label, live, retrain
from training.pipeline.context import open_context
from training.pipeline.replay import Replay
from training.pipeline.replay import replay as train_again
from training.recipe import Recipe
from training.worker.trainer import Trainer

DIGITS = digits_of("three")[:10] + digits_of("seven")[:10]


@pytest.fixture
def replay(starter_store: Store, settings: Settings) -> Callable[[Version], Replay]:
    return lambda version: train_again(
        open_context(starter_store, Recipe(), settings, "me"), version
    )


@pytest.mark.slow
def test_head_is_the_same_bytes_whatever_came_later(
    starter_store: Store, trainer: Trainer, replay: Callable[[Version], Replay]
) -> None:
    label(starter_store, DIGITS)
    retrain(starter_store, trainer)
    version = live(starter_store)
    label(starter_store, digits_of("three")[10:14])
    retractions.retract(starter_store, 1, who="me", now=2.0)
    retrain(starter_store, trainer)
    for each in (version, live(starter_store)):
        result = replay(each)
        assert result.is_same, result
        assert result.largest_difference == 0.0
        assert result.changes == {}
    assert live(starter_store).parent == version.number


@pytest.mark.slow
def test_command_says_whether_the_files_are_the_same(
    starter_store: Store, trainer: Trainer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(settings.home))
    label(starter_store, DIGITS)
    run = retrain(starter_store, trainer)
    result = CliRunner().invoke(app, ["replay", run.id])
    assert result.exit_code == 0, result.output
    assert "The files are the same." in result.output
    version = live(starter_store)
    manifest = versions.read_manifest(version, starter_store)
    other = forge(starter_store, version, libraries=manifest.libraries | {"numpy": "0.1"})
    with starter_store.db.write() as conn:
        labels.append(conn, example_id=1, label="seven", now=3.0)
    other = forge(starter_store, other, snapshot=len(DIGITS) + 1)
    result = CliRunner().invoke(app, ["replay", str(other.number)])
    assert result.exit_code == 1
    assert "Probabilities differ by at most" in result.output
    assert "numpy was 0.1" in result.output


@pytest.mark.slow
def test_other_labels_give_another_head_and_the_difference(
    starter_store: Store, trainer: Trainer, replay: Callable[[Version], Replay]
) -> None:
    label(starter_store, DIGITS)
    retrain(starter_store, trainer)
    with starter_store.db.write() as conn:
        labels.append(conn, example_id=1, label="seven", now=3.0)
        later = labels.newest_id(conn)
    forged = forge(starter_store, live(starter_store), snapshot=later)
    result = replay(forged)
    assert not result.is_same
    assert 0 < result.largest_difference <= 1


def test_version_without_labels_cannot_be_replayed(
    starter_store: Store, replay: Callable[[Version], Replay]
) -> None:
    with pytest.raises(InvalidRequest, match="version 1 was not trained on labels"):
        replay(live(starter_store))


@pytest.mark.slow
def test_recipe_of_another_release_is_named(
    starter_store: Store, trainer: Trainer, replay: Callable[[Version], Replay]
) -> None:
    label(starter_store, DIGITS)
    retrain(starter_store, trainer)
    recipe = {"head": {"magic": 1}}
    forged = forge(starter_store, live(starter_store), recipe=recipe)
    with pytest.raises(InvalidRequest, match="a recipe of another release"):
        replay(forged)


def forge(store: Store, version: Version, **fields: object) -> Version:
    """A version whose manifest says otherwise."""
    manifest: Manifest = replace(
        versions.read_manifest(version, store),
        run_id=None,
        **fields,  # type: ignore[arg-type]
    )
    with store.db.write() as conn:
        number = versions.publish(conn, store, manifest, version.gate).version
        promotions.request(conn, number, who="test", why="test", now=1.0)
        return versions.get(conn, number)
