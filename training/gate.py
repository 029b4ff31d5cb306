"""The gate: whether a challenger replaces the champion, and why.

Owns the rules of promotion, as pure functions of plain values. Measures nothing: accuracy, parity,
latency and size arrive in `Evidence`. Its error rates are in docs/gate.md, proven in its test.

Shares of one inside, points (hundredths) in every sentence. N: one entry per judged example.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training import paired
from training.paired import Bools, Counts

Method = Literal["hold-out", "cross-validation"]


@dataclass(frozen=True, slots=True)
class GatePolicy:
    # Non-inferiority: be `confidence` sure that the challenger is not `margin` worse. The two figures
    # belong together: 2 points are what 1,000 paired examples can resolve with 5 % wrongly promoted.
    margin: float = 0.02
    confidence: float = 0.95
    # With fewer examples the margins widen with the noise, by sqrt(full_holdout / judged); a fixed
    # margin would hold back nearly everything at 200, even a copy of the champion.
    full_holdout: int = 1000
    # Below this the margin is past 6 points and some classes have no held-out example at all.
    min_holdout: int = 100
    # How surely worse is too sure. Looser than 0.05 with few examples, where the test has less power.
    harm_alpha: float = 0.05
    harm_alpha_cross_validation: float = 0.10
    # Each promotion may lose a little within the noise; against the best ever the losses cannot add up.
    drift_margin: float = 0.01
    # New classes bring new ways to be wrong: what the old ones may pay, on top of the margins above.
    added_classes_allowance: float = 0.01
    # Collapse: recall was decent and at least halves, by more than luck and more than ordinary churn.
    min_class_examples: int = 5
    decent_recall: float = 0.5
    collapse_ratio: float = 0.5
    collapse_alpha: float = 0.05
    # Share of a class's examples that an ordinary retrain turns from right to wrong, at most.
    ordinary_churn: float = 0.10
    # A first model of new classes must beat guessing, once there are enough examples to tell.
    min_chance_examples: int = 10
    # float32 in two runtimes differs by 1e-6 to 1e-4; a wrong graph differs by far more than this.
    max_parity: float = 1e-3
    max_latency_ratio: float = 1.5
    # protobuf refuses an ONNX file of 2 GiB, and a version is offered as one standalone file.
    max_bytes: int = 2**31 - 1


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What was measured of a challenger, through its exported ONNX.

    `label_N` indexes `classes`. An example whose class a version does not know counts as wrong.
    `champion_version` is None for the first version ever; the correctness of the champion is then
    ignored. `best_correct_N` is None when the champion itself is the best on these examples.
    """

    method: Method
    classes: tuple[str, ...]
    label_N: NDArray[np.integer[Any]]
    champion_correct_N: Bools
    challenger_correct_N: Bools
    old_classes: frozenset[str]
    champion_version: int | None
    parity: float
    latency_ratio: float
    size_bytes: int
    best_correct_N: Bools | None = None
    best_version: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Decision:
    """`interval` is two-sided at 90 %, so its low end is the 95 % bound that non-inferiority uses.

    `p_value` is the exact one-sided McNemar test for harm. The comparison is None without a champion
    or without judged examples.
    """

    promote: bool
    reason: str
    checks: tuple[Check, ...]
    method: Method
    num_judged: int
    challenger_accuracy: float | None = None
    champion_accuracy: float | None = None
    change: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None

    def to_json(self) -> dict[str, Any]:
        plain = asdict(self)
        plain["checks"] = list(plain["checks"])
        plain["interval"] = None if self.interval is None else list(self.interval)
        return plain


def choose_method(num_held_out: int, policy: GatePolicy) -> Method:
    return "hold-out" if num_held_out >= policy.min_holdout else "cross-validation"


def widened(margin: float, n: Counts, policy: GatePolicy) -> Any:
    """The margin that n judged examples can resolve as surely as `full_holdout` resolve `margin`."""
    return margin * np.sqrt(np.maximum(1, policy.full_holdout / np.maximum(n, 1)))


def is_noninferior(b: Counts, c: Counts, n: Counts, margin: Any, policy: GatePolicy) -> Bools:
    """Whether the lower confidence bound of the change is above -margin."""
    return paired.score(b, c, n, -margin) > paired.quantile(policy.confidence)


def keeps_up(b: Counts, c: Counts, n: Counts, policy: GatePolicy, method: Method) -> Bools:
    """Whether the challenger is good enough against the champion. Vectorised over counts.

    A small cross-validated sample can prove nothing, so there the challenger, which knows more
    labels, wins unless it is visibly worse.
    """
    margin = widened(policy.margin, n, policy)
    if method == "hold-out":
        unharmed = paired.harm_p(b, c) >= policy.harm_alpha
        return is_noninferior(b, c, n, margin, policy) & unharmed
    return (b - c >= -margin * n) & (paired.harm_p(b, c) >= policy.harm_alpha_cross_validation)


def keeps_best(challenger: Counts, champion: Counts, best: Counts, n: Counts, margin: Any) -> Any:
    """Whether promotion loses nothing that the best version ever had. Vectorised over counts right.

    A challenger no worse than the champion passes: holding it back would leave the worse one live.
    """
    return (challenger >= champion) | (challenger >= best - margin * n)
