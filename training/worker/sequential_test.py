"""The watch: do labels show that the live version is worse than the one before it?

An anytime-valid sequential test on paired outcomes: it may be looked at after every label, for as
long as one likes, and errs with the probability that it states over all these looks together.
Reads nothing and changes nothing; `training/worker/self_healing.py` does.

Only images count that exactly one of the two got right. If the live version is no worse, each of
them goes against it with a probability p of at most 1/2. The evidence is the likelihood ratio of
p > 1/2 to p = 1/2, averaged over the values of p that a harmful drop has (a mixture, Robbins 1970).
It is a non-negative supermartingale that starts at 1, so by Ville's inequality it ever reaches
1 / alpha with a probability of at most alpha. It depends on the two counts alone, not on the order:
a label that is changed or taken back later leaves what the labels say now.

Robbins H. (1970), "Statistical methods related to the law of the iterated logarithm", Annals of
Mathematical Statistics 41:1397-1409.
Ramdas A., Grünwald P., Vovk V., Shafer G. (2023), "Game-theoretic statistics and safe anytime-valid
inference", Statistical Science 38:576-601.

    b  images that only the version before got right      c  images that only the live one got right
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaln

from core.shadows.answers import Tally
from core.shadows.outcomes import Outcome, score

# A drop of ten points with heads that share a backbone has p of 0.7 to 0.9.
P_LOW, P_HIGH = 0.6, 0.95
MAX_ALPHA = 0.1
# Over so many labels, at most one false alarm is to be expected.
LABELS_OF_ONE_ALARM = 10_000
# Labels that come more than so many times as often where the two disagree are corrections, mostly.
MAX_CHOSEN = 1.2


@dataclass(frozen=True, slots=True)
class Verdict:
    is_worse: bool
    # Why the version before is to answer again, or why evidence that would do is not enough.
    why: str = ""


def log_evidence(b: Any, c: Any) -> NDArray[np.float64]:
    """Logarithm of the evidence that the live version is worse. Vectorised over counts."""
    b, c = np.asarray(b, np.float64), np.asarray(c, np.float64)
    mass = betainc(b + 1, c + 1, P_HIGH) - betainc(b + 1, c + 1, P_LOW)
    prior = math.log(P_HIGH - P_LOW)
    logs = (b + c) * math.log(2) + betaln(b + 1, c + 1) + np.log(np.maximum(mass, 1e-300)) - prior
    return np.asarray(logs)


def alpha(num_activations: int) -> float:
    """The risk that one activation may take, from how many there were in the last 10,000 labels.

    Each has a test of its own: where versions change often, each must be surer.
    """
    return min(MAX_ALPHA, 1 / max(1, num_activations))


def decide(
    live: int, before: int, outcomes: Sequence[Outcome], tally: Tally, num_activations: int
) -> Verdict:
    """Decide from all images labelled since the live version was activated.

    The tally is of the version before, beside the live one: it tells what was not labelled.
    """
    b = sum(outcome.is_shadow_right and not outcome.is_right for outcome in outcomes)
    c = sum(outcome.is_right and not outcome.is_shadow_right for outcome in outcomes)
    log_needed = -math.log(alpha(num_activations))
    found = float(log_evidence(b, c))
    if found < log_needed:
        return Verdict(False)
    counts = score(outcomes)
    facts = (
        f"of {counts.labelled} images labelled since, version {live} got {counts.champion_right} "
        f"right and version {before}, the one before it, {counts.shadow_right}; {b} only version "
        f"{before} and {c} only version {live} (evidence {math.exp(min(found, 20)):.1f}, "
        f"needed {math.exp(log_needed):.1f})"
    )
    if is_label_selection_biased(outcomes, tally):
        return Verdict(
            False,
            f"not rolled back, though {facts}: labels come more than {MAX_CHOSEN} times as often "
            "where the two disagree, so they may be corrections only, which cannot tell",
        )
    return Verdict(True, f"rolled back by itself: {facts}")


def is_label_selection_biased(outcomes: Sequence[Outcome], tally: Tally) -> bool:
    """Whether labels come by what was answered, and so cannot compare the two.

    People who label only what is wrong make any live version look worse than any silent one. Then
    answers that agree, which are mostly right, are labelled less often than those that differ.
    """
    num_agreeing = sum(outcome.agrees for outcome in outcomes)
    num_differing = len(outcomes) - num_agreeing
    differing = max(1, tally.answers - tally.agreements)
    least = tally.agreements * min(1.0, num_differing / differing) / MAX_CHOSEN
    return num_agreeing < least - math.sqrt(least)
