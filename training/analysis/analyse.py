"""Analyse the newest version. Read it from top to bottom.

Suffixes: N examples, K classes, M points of the map.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from core.class_names import NONE_OF_THESE
from core.errors import ArtifactError
from core.review import analyses
from core.review.analyses import AnalysisRow
from core.review.analysis import MAX_POINTS, Analysis
from core.store.store import Store
from core.system.background import call_back
from training.analysis import example_map
from training.analysis.curve_summary import learning_curve
from training.analysis.familiarity import similarities
from training.analysis.out_of_fold import OutOfFold, score_out_of_fold
from training.analysis.subject import Subject, read_subject
from training.head.chunks import in_float32
from training.recipe import Recipe

log = logging.getLogger(__name__)


def analyse_newest(store: Store, recipe: Recipe) -> int | None:
    """Analyse the newest version, unless that is done, and store what was found.

    Returns its number; None: there was nothing to do, or an example was erased meanwhile. Raises
    NotEnoughLabels, ArtifactError, StoreError.
    """
    began = time.perf_counter()
    subject = read_subject(store)
    if subject is None:
        return None
    earlier = _earlier_map(store, subject)
    # A BLAS that waits for busy cores is ten times slower than with one thread.
    with threadpool_limits(1):
        scored = None
        if subject.dataset is not None:
            scored = score_out_of_fold(subject.dataset.training, recipe.head, subject.penalty)
        analysis = _find_out(subject, scored, earlier)
        curve = learning_curve(subject, scored, analysis, recipe, store.db.clock())
    summary = {
        "known_unknowns": _known_unknowns(analysis),
        "learning_curve": curve,
        "seconds": round(time.perf_counter() - began, 3),
    }
    return _add(store, subject, analysis, summary)


def _find_out(
    subject: Subject, scored: OutOfFold | None, before: dict[int, NDArray[np.float32]]
) -> Analysis:
    names = tuple(sorted({*subject.manifest.classes, *(row.label for row in subject.rows)}))
    index = {name: i for i, name in enumerate(names)}
    label_N = np.array([index[row.label] for row in subject.rows], np.int32)
    similarity_N = np.full(len(subject.rows), np.nan, np.float32)
    is_unfamiliar_N = np.zeros(len(subject.rows), np.bool_)
    if subject.references is not None:
        similarity_N = similarities(subject.x_ND, subject.group_N, subject.references)
        is_unfamiliar_N = similarity_N < subject.references.threshold
    point_M = _sample(len(subject.rows))
    unscored = Analysis(
        names,
        np.array([row.example_id for row in subject.rows], np.int64),
        label_N,
        np.full(len(subject.rows), -1, np.int32),
        np.full(len(subject.rows), np.nan, np.float16),
        similarity_N.astype(np.float16),
        is_unfamiliar_N,
        point_M,
        _lay_out(subject, point_M, before).astype(np.float16),
        np.array([row.is_held_out for row in subject.rows], np.bool_),
    )
    _score_held_out(subject, unscored)
    if scored is not None:
        _score_trained(subject, scored, unscored)
    return unscored


def _score_held_out(subject: Subject, analysis: Analysis) -> None:
    """Fill in what the version itself says of the held-out examples of its classes."""
    classes = subject.manifest.classes
    of_class = {name: k for k, name in enumerate(classes)}
    rows = [i for i, row in enumerate(subject.rows) if row.is_held_out and row.label in of_class]
    if not rows:
        return
    probs_NK = in_float32(subject.x_ND[rows], lambda x_BD: subject.head.score(x_BD)[1])
    own_N = np.array([of_class[subject.rows[i].label] for i in rows])
    _fill(analysis, np.array(rows), probs_NK, own_N, classes)


def _score_trained(subject: Subject, scored: OutOfFold, analysis: Analysis) -> None:
    assert subject.dataset is not None
    training = subject.dataset.training
    rows_N = np.searchsorted(analysis.example_id_N, training.example_id_N)
    _fill(analysis, rows_N, scored.probs_NK, training.y_N, training.classes)


def _fill(
    analysis: Analysis,
    rows_N: NDArray[np.intp],
    probs_NK: NDArray[np.float32],
    own_N: NDArray[np.intp],
    classes: tuple[str, ...],
) -> None:
    index = {name: i for i, name in enumerate(analysis.names)}
    name_K = np.array([index[name] for name in classes], np.int32)
    analysis.predicted_N[rows_N] = name_K[probs_NK.argmax(axis=1)]
    analysis.label_probability_N[rows_N] = probs_NK[np.arange(len(own_N)), own_N]


def _sample(num_rows: int) -> NDArray[np.int32]:
    """Return all rows, or so many evenly spaced ones."""
    return np.linspace(0, num_rows - 1, min(num_rows, MAX_POINTS)).astype(np.int32)


def _lay_out(
    subject: Subject, point_M: NDArray[np.int32], before: dict[int, NDArray[np.float32]]
) -> NDArray[np.float32]:
    classes = {name: k for k, name in enumerate(subject.manifest.classes)}
    class_M = np.array([classes.get(subject.rows[i].label, -1) for i in point_M], np.intp)
    position_M2 = example_map.lay_out(subject.x_ND[point_M], class_M)
    nowhere = np.full(2, np.nan, np.float32)
    before_M2 = np.array([before.get(subject.rows[i].example_id, nowhere) for i in point_M])
    return example_map.turn_towards(position_M2, before_M2)


def _earlier_map(store: Store, subject: Subject) -> dict[int, NDArray[np.float32]]:
    """Where each example was on the map before. Empty if there is none that can be read."""
    if subject.earlier is None:
        return {}
    try:
        earlier = Analysis.from_bytes(store.blobs.get(subject.earlier.digest))
    except ArtifactError:
        return {}
    example_ids = earlier.example_id_N[earlier.point_M].tolist()
    return dict(zip(example_ids, earlier.position_M2.astype(np.float32), strict=True))


def _known_unknowns(analysis: Analysis) -> dict[str, Any]:
    """How many examples of no class there are, and which share of them the version finds
    unfamiliar."""
    of_none_N = np.zeros(len(analysis), np.bool_)
    if NONE_OF_THESE in analysis.names:
        of_none_N = analysis.label_N == analysis.names.index(NONE_OF_THESE)
    known_N = of_none_N & ~np.isnan(analysis.similarity_N)
    share = float(analysis.is_unfamiliar_N[known_N].mean()) if known_N.any() else None
    return {
        "examples": int(of_none_N.sum()),
        "unfamiliar_share": share if share is None else round(share, 4),
    }


def _add(store: Store, subject: Subject, analysis: Analysis, summary: dict[str, Any]) -> int | None:
    now = store.db.clock()
    content = analysis.to_bytes(now)
    digest = store.blobs.put(content)
    number = subject.manifest.version
    row = AnalysisRow(number, digest, len(content), subject.snapshot, summary, now)
    add = partial(analyses.add_unless_erased, store.db, row, subject.last_erasure)
    if not call_back(add):
        store.blobs.delete(digest)
        return None
    extra = {"version": number, "examples": len(analysis), "duration_s": summary["seconds"]}
    log.info("analysis.finished", extra=extra)
    return number
