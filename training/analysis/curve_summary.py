"""The learning curve of an analysis as it is stored: measured anew, or carried over.

Suffixes: N examples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from core.class_names import is_class
from core.review.analysis import Analysis
from core.review.comparing.paired_tests import wilson
from training.analysis.curve_points import measure
from training.analysis.learning_curve import TOO_EARLY, describe
from training.analysis.out_of_fold import OutOfFold
from training.analysis.subject import Subject
from training.recipe import Recipe

# The curve is measured again once the number of labels has changed by so much.
_CHANGE = 0.1


def learning_curve(
    subject: Subject, scored: OutOfFold | None, analysis: Analysis, recipe: Recipe, now: float
) -> dict[str, Any]:
    """Return the curve as JSON, with its classes: those first whose accuracy more labels help
    most."""
    curve = _carried_over(subject)
    if curve is None:
        curve = _measured(subject, scored, recipe)
        curve["version"], curve["computed_at"] = subject.manifest.version, now
    curve["classes"] = _classes(subject, analysis, curve["gains"])
    return curve


def _measured(subject: Subject, scored: OutOfFold | None, recipe: Recipe) -> dict[str, Any]:
    dataset = subject.dataset
    if dataset is None or scored is None:
        text = "It is too early to say: label at least two examples of two classes each."
        curve: dict[str, Any] = {
            "points": [],
            "forecast": [],
            "gains": {},
            "verdict": TOO_EARLY,
            "text": text,
        }
    else:
        measured = measure(
            dataset.training,
            dataset.held_out,
            scored,
            recipe.head,
            is_backbone_tuned=subject.is_backbone_tuned,
        )
        curve = describe(measured, dataset.classes, len(dataset))
    return curve | {"basis": _basis(subject)}


def _basis(subject: Subject) -> dict[str, Any]:
    """What the curve depends on."""
    dataset = subject.dataset
    return {
        "num_trained": 0 if dataset is None else dataset.num_trained,
        "backbone": subject.manifest.backbone,
        "classes": [] if dataset is None else list(dataset.classes),
    }


def _carried_over(subject: Subject) -> dict[str, Any] | None:
    """Return the earlier curve while it holds."""
    if subject.earlier is None:
        return None
    curve = subject.earlier.summary.get("learning_curve")
    if not curve:
        return None
    before, now = dict(curve["basis"]), _basis(subject)
    num_before, num_now = before.pop("num_trained"), now.pop("num_trained")
    is_close = abs(num_now - num_before) < _CHANGE * num_before
    return dict(curve) if is_close and before == now else None


def _classes(subject: Subject, analysis: Analysis, gains: dict[str, float]) -> list[dict[str, Any]]:
    scored_N = analysis.predicted_N >= 0
    right_N = analysis.predicted_N == analysis.label_N
    found = []
    for i, name in enumerate(analysis.names):
        own_N = analysis.label_N == i
        num_examples, num_judged = (
            int(np.count_nonzero(rows)) for rows in (own_N, own_N & scored_N)
        )
        if not is_class(name) or not num_examples:
            continue
        num_right = int(np.count_nonzero(right_N & own_N & scored_N))
        accuracy = num_right / num_judged if num_judged else None
        interval = None if accuracy is None else wilson(num_right, num_judged)
        found.append(
            {
                "name": name,
                "examples": num_examples,
                "accuracy": None if accuracy is None else round(accuracy, 4),
                "interval": None if interval is None else [round(end, 4) for end in interval],
                "gain_expected": gains.get(name),
            }
        )
    # A class that cannot be trained yet needs labels most.
    return sorted(
        found, key=lambda each: (each["accuracy"] is not None, -(each["gain_expected"] or 0))
    )
