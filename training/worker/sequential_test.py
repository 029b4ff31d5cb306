"""The sequential test: do labels show that the live version is worse than the one before it?

It is anytime-valid: it may run after every label, for ever. Its error probability holds over all
these runs together. It is a pure function; `training/worker/self_healing.py` reads and acts.

Only discordant images count, which exactly one of the two versions got right. If the live version
is no worse, each of them goes against it with a probability p of at most 1/2. The evidence is the
likelihood ratio of p > 1/2 to p = 1/2, averaged over the p of a harmful drop (a mixture, Robbins
1970). It is a non-negative supermartingale that starts at 1. So by Ville's inequality, it ever
reaches 1 / alpha with a probability of at most alpha. It depends on the two counts alone, not on
their order, so labels that are changed or retracted later do no harm.

Robbins H. (1970), "Statistical methods related to the law of the iterated logarithm", Annals of
Mathematical Statistics 41:1397-1409.
Ramdas A., Grünwald P., Vovk V., Shafer G. (2023), "Game-theoretic statistics and safe anytime-valid
inference", Statistical Science 38:576-601.

    b  images that only the version before got right
    c  images that only the live version got right
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.shadows.answers import Tally
from core.shadows.outcomes import Outcome, score

# Of heads that share a backbone, a drop of ten points has a p of 0.7 to 0.9.
P_LOW, P_HIGH = 0.6, 0.95
# The uniform prior over these p, as the nodes and weights of Gauss and Legendre.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)
_PRIOR = tuple(
    (float(P_LOW + (P_HIGH - P_LOW) * (node + 1) / 2), float(weight / 2))
    for node, weight in zip(_NODES, _WEIGHTS, strict=True)
)
MAX_ALPHA = 0.1
# At most one false alarm is expected in so many labels.
LABELS_PER_FALSE_ALARM = 10_000
# Labels are mostly corrections if they are so many times as frequent where the two disagree.
MAX_LABEL_BIAS = 1.2


@dataclass(frozen=True, slots=True)
class Verdict:
    is_worse: bool
    # Why to roll back, or why not in spite of the evidence.
    why: str = ""


def log_evidence(b: Any, c: Any) -> NDArray[np.float64]:
    """Return the log of the evidence that the live version is worse. Vectorised over counts.

    It stays in logarithms: with thousands of labels each ratio is below any float, or above.
    """
    b, c = np.asarray(b, np.float64), np.asarray(c, np.float64)
    total = np.full(np.broadcast(b, c).shape, -np.inf)
    for p, weight in _PRIOR:
        ratio = b * math.log(2 * p) + c * math.log(2 * (1 - p))
        total = np.logaddexp(total, ratio + math.log(weight))
    return total


def alpha(num_activations: int) -> float:
    """Return the error probability of one activation's test.

    `num_activations` counts those of the last 10,000 labels. Each has a test of its own, so where
    versions change often, each test must be stricter.
    """
    return min(MAX_ALPHA, 1 / max(1, num_activations))


def decide(
    live: int, before: int, outcomes: Counter[Outcome], tally: Tally, num_activations: int
) -> Verdict:
    """Decide from all images that were labelled since the live version was activated.

    `tally` counts all predictions of both versions, labelled or not.
    """
    b = sum(n for o, n in outcomes.items() if o.is_shadow_right and not o.is_right)
    c = sum(n for o, n in outcomes.items() if o.is_right and not o.is_shadow_right)
    log_threshold = -math.log(alpha(num_activations))
    log_measured = float(log_evidence(b, c))
    if log_measured < log_threshold:
        return Verdict(False)
    counts = score(outcomes)
    measured = (
        f"of {counts.labelled} inputs labelled since its activation, version {live} got "
        f"{counts.champion_right} right, and version {before} before it {counts.shadow_right} "
        f"({b} only version {before}, {c} only version {live}; "
        f"evidence {math.exp(min(log_measured, 20)):.1f}, threshold {math.exp(log_threshold):.1f})"
    )
    if is_label_selection_biased(outcomes, tally):
        return Verdict(
            False,
            f"not rolled back, although {measured}: labels are more than {MAX_LABEL_BIAS} times as "
            "frequent where the two versions disagree, so they may be corrections only, which "
            "cannot compare versions",
        )
    return Verdict(True, f"rolled back automatically: {measured}")


def is_label_selection_biased(outcomes: Counter[Outcome], tally: Tally) -> bool:
    """Whether users choose what to label by what was predicted. Then labels can't compare versions.

    Users who label only wrong predictions make any live version look worse than any shadow. The
    sign is that agreeing predictions, mostly right ones, are labelled less than differing ones.
    """
    num_agreeing = sum(n for outcome, n in outcomes.items() if outcome.agrees)
    num_differing = outcomes.total() - num_agreeing
    differing = max(1, tally.answers - tally.agreements)
    least = tally.agreements * min(1.0, num_differing / differing) / MAX_LABEL_BIAS
    return num_agreeing < least - math.sqrt(least)
