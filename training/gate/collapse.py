"""Collapse: classes whose decent recall halved, and new classes of a similar name.

Suffixes: N one entry per judged example, K one per class.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np

from core.class_names import identity
from core.review.comparing import paired_tests
from training.gate.evidence import Evidence
from training.recipe import GatePolicy

# difflib's ratio: `dsic` has 0.75 to `disc`, and `bat` 0.67 to `cat`.
_SIMILAR = 0.75


def find_collapsed(evidence: Evidence, policy: GatePolicy) -> list[str]:
    """Describe every class whose recall was decent and collapsed.

    The fall must be significant by McNemar's test. Among hundreds of classes, one always looks bad
    by chance. So it must also exceed ordinary churn, corrected for the number of judged classes
    (Bonferroni).
    """
    before_N, after_N = evidence.champion_correct_N, evidence.challenger_correct_N
    count = paired_tests.count_classes(evidence.label_N, before_N, after_N, len(evidence.classes))
    n_K, before_K, after_K = count.n_K, count.before_K, count.after_K
    is_judged = n_K >= policy.min_class_examples
    was_decent = before_K >= policy.decent_recall * n_K
    has_halved = after_K <= policy.collapse_ratio * before_K
    is_significant = paired_tests.mcnemar_p(count.b_K, count.c_K) < policy.collapse_alpha
    churn_p = paired_tests.binomial_tail_p(
        count.c_K, n_K, policy.ordinary_churn
    ) * np.count_nonzero(is_judged)
    exceeds_churn = churn_p < policy.collapse_alpha
    collapsed = np.flatnonzero(is_judged & was_decent & has_halved & is_significant & exceeds_churn)
    return [
        f"{evidence.classes[k]} ({before_K[k]} of {n_K[k]} right before, {after_K[k]} now"
        f"{describe_similar(evidence.classes[k], evidence.added_classes)})"
        for k in collapsed
    ]


def describe_similar(name: str, added: Iterable[str]) -> str:
    """Name the added classes whose name is similar: they may be misspellings. Empty if none is."""
    key = identity(name)
    similar = [
        repr(other)
        for other in added
        if difflib.SequenceMatcher(None, key, identity(other)).ratio() >= _SIMILAR
    ]
    if not similar:
        return ""
    if len(similar) == 1:
        return f"; new class {similar[0]} has a similar name"
    return f"; new classes {', '.join(similar)} have similar names"
