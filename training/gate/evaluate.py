"""Measure champion and challenger on the same examples, through their exported heads.

With enough held-out examples, on those. Otherwise by cross-validation on the training rows: the
challenger is scored out of fold, and the champion is refitted out of fold on the labels of its own
snapshot. Held-out rows, which neither was trained on, count as well.

Suffixes: N rows, D embedding, K classes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.class_names import identity, known_among
from core.models.servable import Servable, likeliest
from training.dataset import Dataset, TrainingSet
from training.gate.champions import CachedPredictions, ChampionModel, Champions
from training.gate.evidence import Evidence, Method
from training.gate.rules import choose_method
from training.head.chunks import in_float32
from training.head.crossval import out_of_fold
from training.head.design_matrix import prepare
from training.head.fit import FittedHead
from training.head.regression import tolerance_to_judge
from training.recipe import GatePolicy, Recipe

Bools = NDArray[np.bool_]
_NO_CLASS = -2


@dataclass(frozen=True, slots=True, eq=False)
class Challenger:
    """A fitted head, and the version exported from it."""

    fitted: FittedHead
    servable: Servable

    def brings_tuned_backbone(self, champion: ChampionModel) -> bool:
        """Whether its backbone is not the champion's, and was trained on the training rows."""
        manifest = self.servable.manifest
        return manifest.backbone_snapshot > 0 and manifest.backbone != champion.manifest.backbone


@dataclass(frozen=True, slots=True)
class Cost:
    """What the challenger costs to serve. Ratios are of the time of one prediction."""

    # Over the champion's.
    latency_ratio: float
    size_bytes: int
    # Of int8 over float32 on this machine; None: the backbone was not quantised in this run.
    int8_latency_ratio: float | None = None


def collect_evidence(
    training_set: TrainingSet,
    champions: Champions,
    challenger: Challenger,
    cost: Cost,
    recipe: Recipe,
) -> Evidence:
    """Measure what the gate needs to decide.

    The best of the earlier champions is compared as well, so that small losses don't add up. A
    challenger whose backbone was trained on the training rows is judged on held-out rows alone.
    """
    champion, fitted = champions.current, challenger.fitted
    rows, champion_rows = training_set.dataset, training_set.champion_dataset
    method: Method = "hold-out"
    if not challenger.brings_tuned_backbone(champion):
        method = method_of(rows, champion.manifest.classes, recipe.gate)
    champion_N = cached_correct_N(champion.predictions, champion_rows.held_out)
    challenger_N = correct_N(challenger.servable, rows.held_out)
    label_N = rows.held_out.y_N
    best_N: Bools | None = None
    best_version: int | None = None
    if method == "cross-validation":
        refitted_N = refitted_correct_N(training_set, fitted, champion, recipe.head.class_balance)
        own_N = fitted.out_of_fold_NK.argmax(axis=1) == rows.training.y_N
        champion_N = np.concatenate([refitted_N, champion_N])
        challenger_N = np.concatenate([own_N, challenger_N])
        label_N = np.concatenate([rows.training.y_N, label_N])
    else:
        best_N, best_version = _best_earlier(champions, champion_rows.held_out, champion_N)
    return Evidence(
        method=method,
        classes=rows.classes,
        label_N=label_N,
        champion_correct_N=champion_N,
        challenger_correct_N=challenger_N,
        old_classes=known_among(rows.classes, champion.manifest.classes),
        champion_version=champion.manifest.version,
        best_correct_N=best_N,
        best_version=best_version,
        parity=challenger.servable.manifest.parity,
        latency_ratio=cost.latency_ratio,
        size_bytes=cost.size_bytes,
        int8_latency_ratio=cost.int8_latency_ratio,
    )


def method_of(rows: Dataset, known: Collection[str], policy: GatePolicy) -> Method:
    """Choose how to judge a challenger of a champion that knows the classes `known`.

    A first model is judged by cross-validation until every class has enough held-out examples to
    be judged on. Otherwise one held-out example would decide about a rare class.
    """
    held_out_K = np.bincount(rows.held_out.y_N, minlength=len(rows.classes))
    is_first = not known_among(rows.classes, known)
    if is_first and held_out_K.min() < policy.min_class_examples:
        return "cross-validation"
    return choose_method(rows.num_held_out, policy)


def correct_N(servable: Servable, rows: Dataset) -> Bools:
    """Whether the version's most likely class is the row's. A class that it lacks is wrong."""
    if len(rows) == 0:
        return np.zeros(0, np.bool_)
    logits_NK = in_float32(rows.x_ND, lambda x_BD: servable.score(x_BD)[0])
    return _names_match(likeliest(logits_NK), servable.manifest.classes, rows)


def cached_correct_N(predictions: CachedPredictions, rows: Dataset) -> Bools:
    """As `correct_N`, but score only the rows that are new to the cache."""
    return _names_match(predictions.predict(rows), predictions.servable.manifest.classes, rows)


def refitted_correct_N(
    training_set: TrainingSet, fitted: FittedHead, champion: ChampionModel, balance: float
) -> Bools:
    """Whether the champion, refitted out of fold, is right about each training row.

    It has the folds, penalty and label weights of the challenger. So with the same labels it is
    right exactly where the challenger is.
    """
    rows = training_set.champion_dataset.training
    if champion.is_starter:
        return correct_N(champion.servable, rows)  # it was trained on none of these rows
    is_same_backbone = training_set.champion_dataset is training_set.dataset
    classes = champion.manifest.classes
    # Of the twin classes of an older release, the refit knows one.
    index = _index_by_identity(classes)
    labelled = [(row.example_id, identity(row.label)) for row in champion.trained_on()]
    old = {example_id: index[key] for example_id, key in labelled if key in index}
    old_y_N = np.array([old.get(int(example), -1) for example in rows.example_id_N])
    logits_NK = out_of_fold(
        (is_same_backbone and fitted.design) or prepare(rows.x_ND),
        np.maximum(old_y_N, 0),
        fitted.fold_N,
        len(classes),
        l2=fitted.penalty.at(len(rows)),
        train_mask_N=old_y_N >= 0,
        sample_weights_N=fitted.label_weight_N,
        balance=balance,
        # The challenger's.
        tolerance=tolerance_to_judge(len(rows), len(rows.classes)),
    )
    return _names_match(logits_NK.argmax(axis=1), classes, rows)


def _best_earlier(
    champions: Champions, held_out: Dataset, champion_N: Bools
) -> tuple[Bools | None, int | None]:
    """Find the earlier champion that beats today's on the classes that today's knows."""
    known = known_among(held_out.classes, champions.current.manifest.classes)
    is_old_N = np.array([held_out.classes[k] in known for k in held_out.y_N], np.bool_)
    best_N = champion_N
    best_version: int | None = None
    for predictions in champions.earlier:
        earlier_N = cached_correct_N(predictions, held_out)
        if np.count_nonzero(earlier_N & is_old_N) > np.count_nonzero(best_N & is_old_N):
            best_N, best_version = earlier_N, predictions.servable.version
    return (None, None) if best_version is None else (best_N, best_version)


def _names_match(
    predicted_N: NDArray[np.integer[Any]], classes: tuple[str, ...], rows: Dataset
) -> Bools:
    """Whether the predicted class, an index of `classes`, is a spelling of the row's.

    -1 is no class, and never right.
    """
    index = _index_by_identity(classes)
    joined_K = np.array([*(index[identity(name)] for name in classes), _NO_CLASS])
    wanted_K = np.array([index.get(identity(name), -1) for name in rows.classes])
    return np.asarray(joined_K[predicted_N] == wanted_K[rows.y_N])


def _index_by_identity(classes: tuple[str, ...]) -> dict[str, int]:
    """Return the first index of each identity."""
    return {identity(classes[k]): k for k in reversed(range(len(classes)))}
