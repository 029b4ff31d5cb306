"""Judging: champion and challenger on the same examples, through their exported heads.

With enough held-out examples, on those. Else by cross-validation: each training row is judged by a
challenger that did not see it, and by the champion refitted without it on the labels of its own
snapshot; held-out rows, which neither ever saw, are judged as well.

Suffixes: N rows, D embedding, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.models.servable import Servable
from training.dataset import Dataset
from training.gate.champions import Contender, KeptAnswers
from training.gate.evidence import Evidence, GatePolicy, Method
from training.gate.rules import choose_method
from training.head.crossval import out_of_fold
from training.head.design_matrix import Design, prepare
from training.head.fit import FittedHead, tolerance_to_judge

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What else the gate checks of the exported challenger."""

    parity: float
    latency_ratio: float
    size_bytes: int
    int8_latency_ratio: float | None = None


def gather(
    dataset: Dataset,
    champion_dataset: Dataset,
    fitted: FittedHead,
    challenger: Servable,
    champion: Contender,
    earlier: Sequence[KeptAnswers],
    bounds: Bounds,
    policy: GatePolicy,
    balance: float,
    *,
    only_held_out: bool = False,
) -> Evidence:
    """Measure.

    `champion_dataset` has the rows of `dataset` as the champion's backbone embeds them; the two are
    one unless the challenger brings a backbone of its own. `earlier`: versions on the champion's
    backbone that were champion before; the best of them is compared with too, so that small losses
    don't add up. With `only_held_out` there is no cross-validation: the challenger's backbone was
    trained on the training rows, so they cannot judge it.
    """
    held_out = dataset.held_out
    method: Method = "hold-out" if only_held_out else choose_method(len(held_out), policy)
    champion_N = was_right(champion.answers, champion_dataset.held_out)
    challenger_N = is_right(challenger, held_out)
    label_N = held_out.y_N
    best_N: Bools | None = None
    best_version: int | None = None
    if method == "cross-validation":
        training = dataset.training
        rows = champion_dataset.training
        design = fitted.design if champion_dataset is dataset else prepare(rows.x_ND)
        refitted_N = refitted_is_right(rows, design, fitted, champion, balance)
        own_N = fitted.out_of_fold_NK.argmax(axis=1) == training.y_N
        champion_N = np.concatenate([refitted_N, champion_N])
        challenger_N = np.concatenate([own_N, challenger_N])
        label_N = np.concatenate([training.y_N, label_N])
    else:
        best_N, best_version = _best(champion_dataset.held_out, champion, champion_N, earlier)
    return Evidence(
        method=method,
        classes=dataset.classes,
        label_N=label_N,
        champion_correct_N=champion_N,
        challenger_correct_N=challenger_N,
        old_classes=frozenset(champion.classes),
        champion_version=champion.servable.version,
        best_correct_N=best_N,
        best_version=best_version,
        parity=bounds.parity,
        latency_ratio=bounds.latency_ratio,
        size_bytes=bounds.size_bytes,
        int8_latency_ratio=bounds.int8_latency_ratio,
    )


def is_right(servable: Servable, rows: Dataset) -> Bools:
    """Where the version's most likely class is the row's. Classes it does not know are wrong."""
    if len(rows) == 0:
        return np.zeros(0, np.bool_)
    logits_NK, _ = servable.score(rows.x_ND)
    return _names_match(logits_NK.argmax(axis=1), servable.manifest.classes, rows)


def was_right(answers: KeptAnswers, rows: Dataset) -> Bools:
    """As `is_right`, without asking again what was asked before."""
    return _names_match(answers.of(rows), answers.servable.manifest.classes, rows)


def refitted_is_right(
    training: Dataset, design: Design, fitted: FittedHead, champion: Contender, balance: float
) -> Bools:
    """`design` is of the embeddings of `training`. A champion that was trained on the labels of the
    challenger is right where the challenger is."""
    if champion.is_starter:
        return is_right(champion.servable, training)  # it saw none of these rows
    classes = champion.classes
    index = {name: k for k, name in enumerate(classes)}
    was = {row.example_id: index[row.label] for row in champion.seen() if row.label in index}
    was_N = np.array([was.get(int(example), -1) for example in training.example_id_N])
    # A label that the challenger believes little is believed as little for the champion.
    logits_NK = out_of_fold(
        design,
        np.maximum(was_N, 0),
        fitted.fold_N,
        len(classes),
        l2=fitted.penalty.at(len(training)),
        train_mask_N=was_N >= 0,
        sample_weights_N=fitted.label_weight_N,
        balance=balance,
        tolerance=tolerance_to_judge(training),
    )
    return _names_match(logits_NK.argmax(axis=1), classes, training)


def _best(
    held_out: Dataset, champion: Contender, champion_N: Bools, earlier: Sequence[KeptAnswers]
) -> tuple[Bools | None, int | None]:
    """The best of the earlier champions on the classes that today's champion knows."""
    known = frozenset(champion.classes)
    is_old_N = np.array([held_out.classes[k] in known for k in held_out.y_N], np.bool_)
    best_N = champion_N
    best_version: int | None = None
    for answers in earlier:
        found_N = was_right(answers, held_out)
        if np.count_nonzero(found_N & is_old_N) > np.count_nonzero(best_N & is_old_N):
            best_N, best_version = found_N, answers.servable.version
    return (None, None) if best_version is None else (best_N, best_version)


def _names_match(
    answer_N: NDArray[np.integer[Any]], classes: tuple[str, ...], rows: Dataset
) -> Bools:
    index = {name: k for k, name in enumerate(classes)}
    wanted_K = np.array([index.get(name, -1) for name in rows.classes])
    return np.asarray(answer_N == wanted_K[rows.y_N])
