"""Champion and challenger are judged on examples that neither was trained on."""

from __future__ import annotations

import numpy as np
import pytest

from core.labelling.labels import CurrentLabel
from tests.training.digits_store import digits_of, label, live, retrain
from training.dataset import Dataset, TrainingSet, assemble
from training.gate import evaluate
from training.gate.champions import CachedPredictions, ChampionModel
from training.head.fit import fit_head
from training.recipe import HeadRecipe

RNG = np.random.default_rng(0)
CLASSES = ("a", "b")


def rows(num: int, held_out: int = 0) -> list[CurrentLabel]:
    return [
        CurrentLabel(i, f"{i:064x}", CLASSES[i % 2], i < held_out, f"{i:064x}") for i in range(num)
    ]


def test_dataset_leaves_out_rows_of_classes_that_have_not_joined() -> None:
    given = [*rows(4), CurrentLabel(9, "9", "rare", False, "9")]
    vectors = {row.example_id: np.ones(3, np.float16) for row in given}
    assert len(assemble(given, vectors, CLASSES)) == 4
    del vectors[0]
    assert len(assemble(given, vectors, CLASSES)) == 3


def test_dataset_has_training_rows_first_and_its_parts_are_views() -> None:
    given = [
        CurrentLabel(i, f"{i:064x}", CLASSES[i % 2], i % 3 == 0, f"{i:064x}") for i in range(10)
    ]
    vectors = {row.example_id: np.full(3, row.example_id, np.float16) for row in given}
    dataset = assemble(given, vectors, CLASSES)
    training, held_out = dataset.training, dataset.held_out
    assert training.example_id_N.tolist() == [1, 2, 4, 5, 7, 8]
    assert held_out.example_id_N.tolist() == [0, 3, 6, 9]
    assert (dataset.num_trained, training.num_held_out, held_out.num_trained) == (6, 0, 0)
    for part in (training, held_out):
        assert np.shares_memory(part.x_ND, dataset.x_ND), "many embeddings would be copied"
        assert part.x_ND[:, 0].tolist() == part.example_id_N.tolist()
        assert [CLASSES[k] for k in part.y_N] == [CLASSES[i % 2] for i in part.example_id_N]
    mixed = dataset.part(dataset.example_id_N >= 5)
    assert mixed.training.example_id_N.tolist() == [5, 7, 8]
    assert mixed.held_out.example_id_N.tolist() == [6, 9]


def test_out_of_fold_predictions_of_pure_noise_are_right_by_chance_only() -> None:
    given = rows(400)
    vectors = {row.example_id: RNG.normal(size=16).astype(np.float16) for row in given}
    dataset = assemble(given, vectors, CLASSES)
    fitted = fit_head(dataset, HeadRecipe(), score_all=True)
    share = float((fitted.out_of_fold_NK.argmax(axis=1) == dataset.y_N).mean())
    assert 0.4 < share < 0.6
    assert fitted.abstain_below == pytest.approx(1.01)


def test_fit_without_score_all_scores_enough_rows_to_calibrate() -> None:
    given = rows(2000)
    vectors = {row.example_id: RNG.normal(size=4).astype(np.float16) for row in given}
    fitted = fit_head(assemble(given, vectors, CLASSES), HeadRecipe(), score_all=False)
    scored = int((~np.isnan(fitted.out_of_fold_NK[:, 0])).sum())
    assert 400 <= scored <= 800


@pytest.mark.slow
def test_champion_is_refitted_without_the_row_it_is_judged_on(starter_store, trainer) -> None:
    """A champion trained on the very rows that judge it must not get credit for knowing them."""
    from core.labelling import labels
    from core.models.backbones import Runtime
    from core.models.servable import load
    from core.registry.versions import read_manifest

    label(starter_store, digits_of("three", "eight")[:60])
    retrain(starter_store, trainer)
    champion = load(
        read_manifest(live(starter_store), starter_store), starter_store.blobs, Runtime("cpu")
    )
    with starter_store.db.read() as conn:
        current = labels.current(conn)
    size = champion.manifest.embedding_size
    # Embeddings of pure noise: nothing can be learnt, so nobody may be right by more than chance.
    noise = {row.example_id: RNG.normal(size=size).astype(np.float16) for row in current}
    dataset: Dataset = assemble(current, noise, ("eight", "three"))
    fitted = fit_head(dataset.training, HeadRecipe(), score_all=True)
    right_N = evaluate.refitted_correct_N(
        TrainingSet(dataset, dataset, snapshot=len(current)),
        fitted,
        ChampionModel(CachedPredictions(champion), lambda: current),
        balance=0.5,
    )
    assert 0.25 < right_N.mean() < 0.75


@pytest.mark.slow
def test_champion_and_challenger_with_the_same_labels_are_judged_alike(
    starter_store, trainer
) -> None:
    """Otherwise a run without a new label could be promoted for the tolerance of its fit."""
    label(starter_store, digits_of("three", "eight", "five")[:240])
    retrain(starter_store, trainer)
    again = retrain(starter_store, trainer)
    assert again.reason is not None
    assert "change +0.0 points" in again.reason, again.reason
