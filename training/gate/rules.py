"""The gate: whether a challenger replaces the champion, and why.

Owns the rules of promotion, as pure functions of plain values. `Evidence` brings all measurements.
docs/explanation/gate.md states the error rates, and a test checks them.

Values are shares of one, sentences use points (hundredths). Suffixes: N one entry per judged
example, K one per class. Counts b, c, n are those of core/review/comparing/paired_tests.py.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from core.review.comparing import paired_tests
from core.review.comparing.paired_tests import Comparison, Counts
from training.gate.collapse import find_collapsed
from training.gate.evidence import Check, Decision, Evidence, Method
from training.recipe import GatePolicy

ALL = slice(None)


def choose_method(num_held_out: int, policy: GatePolicy) -> Method:
    return "hold-out" if num_held_out >= policy.min_holdout else "cross-validation"


def decide(evidence: Evidence, policy: GatePolicy) -> Decision:
    """Decide about a challenger. The reason also says what could not be judged."""
    n = len(evidence.label_N)
    checks = tuple(_checks(evidence, policy))
    promote = all(check.passed for check in checks)
    failures = "; ".join(check.detail for check in checks if not check.passed)
    summary = _summarise(evidence, policy)
    reason = f"promoted: {summary}" if promote else f"held back: {failures} ({summary})"
    decision = Decision(promote, reason, checks, evidence.method, n)
    if n == 0:
        return decision
    decision = replace(decision, challenger_accuracy=float(evidence.challenger_correct_N.mean()))
    if evidence.champion_version is None:
        return decision
    pair = evidence.compare(ALL, policy.confidence)
    return replace(
        decision,
        champion_accuracy=pair.champion_accuracy,
        change=pair.change,
        interval=(pair.low, pair.high),
        p_value=pair.mcnemar_p,
    )


# The rules, vectorised over counts.


def widened_margin(margin: float, n: Counts, policy: GatePolicy) -> Any:
    """Widen a margin so that n examples resolve it as well as `full_holdout` resolve `margin`."""
    return np.minimum(margin * np.sqrt(np.maximum(1, policy.full_holdout / n)), 0.99)


def is_non_inferior(
    b: Counts, c: Counts, n: Counts, margin: Any, policy: GatePolicy, method: Method
) -> Any:
    """Whether the challenger is non-inferior: not worse by the margin.

    A hold-out must show it with `confidence`. In cross-validation the measured change decides: a
    small sample proves nothing, so the challenger wins ties, because it knows more labels.
    """
    if method == "cross-validation":
        return b - c >= -margin * n
    return paired_tests.tango_z(b, c, n, -margin) > paired_tests.quantile(policy.confidence)


def is_not_harmed(b: Counts, c: Counts, policy: GatePolicy, method: Method) -> Any:
    """Whether the challenger is not significantly worse."""
    if method == "cross-validation":
        return paired_tests.mcnemar_p(b, c) >= policy.harm_alpha_cross_validation
    return paired_tests.mcnemar_p(b, c) >= policy.harm_alpha


def is_near_best(challenger: Counts, champion: Counts, best: Counts, n: Counts, margin: Any) -> Any:
    """Whether the challenger is near the best version ever. Counts are of right examples.

    A challenger no worse than the champion passes: holding it back would keep a worse one live.
    """
    return (challenger >= champion) | (challenger > best - margin * n)


# The checks, each with its detail for the reason.


def _checks(evidence: Evidence, policy: GatePolicy) -> Iterator[Check]:
    yield from _check_bounds(evidence, policy)
    if evidence.champion_version is None:
        return
    if evidence.kept_classes:
        yield from _check_against_champion(evidence, policy)
    else:
        yield _check_chance(evidence, policy)


def _check_bounds(evidence: Evidence, policy: GatePolicy) -> Iterator[Check]:
    # NaN fails these comparisons.
    parity, ratio, size = evidence.parity, evidence.latency_ratio, evidence.size_bytes
    detail = f"the exported model differs from the trained one by {parity:.2g}"
    yield Check("parity", parity <= policy.max_parity, f"{detail}, limit {policy.max_parity:.2g}")
    if evidence.champion_version is not None:
        detail = (
            f"a prediction takes {ratio:.2f} times as long as the champion's, "
            f"limit {policy.max_latency_ratio:.2f}"
        )
        yield Check("latency", ratio <= policy.max_latency_ratio, detail)
    if evidence.int8_latency_ratio is not None:
        ratio, limit = evidence.int8_latency_ratio, policy.max_int8_latency_ratio
        detail = f"int8 takes {ratio:.2f} times as long as float32 here, limit {limit:.2f}"
        yield Check("int8", ratio <= limit, detail)
    detail = f"its files have {size / 1e6:,.1f} MB, limit {policy.max_bytes / 1e6:,.1f} MB"
    yield Check("size", size <= policy.max_bytes, detail)


def _check_chance(evidence: Evidence, policy: GatePolicy) -> Check:
    """A first model of new classes passes, unless it is no better than guessing.

    Recall is averaged over classes, because predicting the commonest class is guessing too. A class
    with few examples says nothing, and a champion that knows no class is never right.
    """
    num_classes = len(evidence.classes)
    n_K = np.bincount(evidence.label_N, minlength=num_classes)
    right_K = np.bincount(evidence.label_N[evidence.challenger_correct_N], minlength=num_classes)
    is_judged_K = n_K >= policy.min_class_examples
    recall_K = right_K[is_judged_K] / n_K[is_judged_K]
    if n_K.sum() < policy.min_chance_examples or len(recall_K) < 2:
        return Check("chance", True, "too few labelled examples to tell it from guessing")
    recall, chance = float(recall_K.mean()), 1 / len(recall_K)
    detail = (
        f"{_percent(recall)} right on average over {len(recall_K)} classes, "
        f"where guessing gives {_percent(chance)}"
    )
    return Check("chance", recall > chance, detail)


def _check_against_champion(evidence: Evidence, policy: GatePolicy) -> Iterator[Check]:
    """Check non-inferiority, harm, old classes, best ever and collapse."""
    has_added = len(evidence.kept_classes) < len(evidence.classes)
    old_N = evidence.is_old_N
    if not old_N.any():
        detail = f"no judged example is of a class that version {evidence.champion_version} knows"
        yield Check("evidence", False, detail)
        return
    pair, old = (evidence.compare(part, policy.confidence) for part in (ALL, old_N))
    # Few examples get the rules of cross-validation, wherever they came from.
    method = "cross-validation" if pair.n < policy.min_holdout else evidence.method
    allowance = policy.added_classes_allowance if has_added else 0.0
    yield _check_margin("accuracy", pair, allowance, policy, method)
    if has_added:
        yield _check_margin("old classes", old, allowance, policy, method)
    else:
        detail = f"{pair.c} examples became wrong, {pair.b} became right (p = {pair.mcnemar_p:.2g})"
        yield Check("harm", bool(is_not_harmed(pair.b, pair.c, policy, method)), detail)
    if evidence.best_correct_N is not None:
        best_right = int(np.count_nonzero(evidence.best_correct_N[old_N]))
        margin = float(widened_margin(policy.drift_margin + allowance, old.n, policy))
        passed = is_near_best(old.challenger_right, old.champion_right, best_right, old.n, margin)
        detail = (
            f"{_percent(old.challenger_accuracy)} against {_percent(best_right / old.n)} of "
            f"version {evidence.best_version}, the best ever; limit {_points(-margin)} points"
        )
        yield Check("best ever", bool(passed), detail)
    collapsed = find_collapsed(evidence, policy)
    yield Check("collapse", not collapsed, f"collapsed: {', '.join(collapsed) or 'no class'}")


def _check_margin(
    name: str, pair: Comparison, allowance: float, policy: GatePolicy, method: Method
) -> Check:
    margin = float(widened_margin(policy.margin + allowance, pair.n, policy))
    passed = bool(is_non_inferior(pair.b, pair.c, pair.n, margin, policy, method))
    change = pair.change if method == "cross-validation" else pair.low
    verb = "is" if method == "cross-validation" else "may be as low as"
    whose = "accuracy on the classes known before" if name == "old classes" else "accuracy"
    detail = f"the change in {whose} {verb} {_points(change)} points, limit {_points(-margin)}"
    return Check(name, passed, detail)


# Wording.


def _summarise(evidence: Evidence, policy: GatePolicy) -> str:
    """Say in one sentence which accuracies were measured, and how."""
    n, version = len(evidence.label_N), evidence.champion_version
    if evidence.method == "cross-validation":
        where = f"in cross-validation on {n} labelled examples, as held-out examples are still few"
    else:
        where = f"on {n} held-out examples"
    accuracy = _percent(float(evidence.challenger_correct_N.mean())) if n else ""
    alone = f"{accuracy} {where}" if n else "no labelled example could be judged"
    if version is None:
        return f"{alone}; this is the first version"
    if not evidence.kept_classes:
        return f"{alone}; version {version} knows none of these classes"
    if n == 0:
        return alone
    pair = evidence.compare(ALL, policy.confidence)
    text = (
        f"{accuracy} against {_percent(pair.champion_accuracy)} of version {version} {where} "
        f"(change {_points(pair.change)} points, {200 * policy.confidence - 100:.0f} % interval "
        f"{_points(pair.low)} to {_points(pair.high)})"
    )
    added = evidence.added_classes
    if not added:
        return text
    old = evidence.compare(evidence.is_old_N, policy.confidence)
    return (
        f"{text}; without the added {', '.join(added)}, {_percent(old.challenger_accuracy)} "
        f"against {_percent(old.champion_accuracy)} on {old.n}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # + 0.0 turns -0.0 into +0.0
