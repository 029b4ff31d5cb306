"""What the gate is given, and what it answers: policy, evidence and decision, as plain values.

Shares of one in every value. Suffixes: N one entry per judged example, K one per class.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.gate import paired_tests
from training.gate.paired_tests import Bools, Comparison

Method = Literal["hold-out", "cross-validation"]


@dataclass(frozen=True, slots=True)
class GatePolicy:
    # Non-inferiority: be `confidence` sure that the challenger is not `margin` worse. The figures
    # belong together: 2 points is what 1,000 paired examples resolve with 5 % wrongly promoted.
    margin: float = 0.02
    confidence: float = 0.95
    # With fewer examples margins widen with the noise, by sqrt(full_holdout / judged): a fixed one
    # would hold back most equals at 200 examples, and at 100 even a copy of the champion.
    full_holdout: int = 1000
    # Below this a margin is past 6 points, and some classes have no held-out example at all.
    min_holdout: int = 100
    # How surely worse is too sure. Looser with few examples, where the test sees less.
    harm_alpha: float = 0.05
    harm_alpha_cross_validation: float = 0.10
    # Each promotion may lose a little within the noise; against the best ever that cannot add up.
    drift_margin: float = 0.01
    # New classes bring new ways to be wrong: what the old ones may pay on top of these margins.
    added_classes_allowance: float = 0.01
    # Collapse: recall was decent and halved, by more than luck and more than ordinary churn, the
    # share of a class that a retrain without any real change may turn wrong.
    min_class_examples: int = 5
    decent_recall: float = 0.5
    collapse_ratio: float = 0.5
    collapse_alpha: float = 0.05
    ordinary_churn: float = 0.10
    # A first model of new classes must beat guessing, once there are enough examples to tell.
    min_chance_examples: int = 10
    # Two runtimes differ by 1e-6 to 1e-4 in float32; a graph exported wrongly, by far more.
    max_parity: float = 1e-3
    max_latency_ratio: float = 1.5
    # Numbers that are rounded must buy something: where the processor has no instructions for
    # them, or the architecture keeps leaving integers, int8 is slower than float32.
    max_int8_latency_ratio: float = 0.9
    # protobuf refuses an ONNX file of 2 GiB, and a version is offered as one standalone file.
    max_bytes: int = 2**31 - 1


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What was measured of a challenger, through its exported ONNX.

    `label_N` indexes `classes`. An example whose class a version does not know counts as wrong.
    In cross-validation every version is judged out of fold.
    `champion_version` is None for the first version ever; `champion_correct_N` is then ignored.
    `best_correct_N` is None when the champion itself is the best on these examples.
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
    # Against the same backbone in float32; None: nothing was quantised, or the champion's too.
    int8_latency_ratio: float | None = None

    @property
    def kept_classes(self) -> list[str]:
        return [name for name in self.classes if name in self.old_classes]

    @property
    def is_old_N(self) -> Bools:
        is_old_K = np.array([name in self.old_classes for name in self.classes], dtype=np.bool_)
        return np.asarray(is_old_K[self.label_N])

    def compare(self, is_in_N: Bools | slice, confidence: float) -> Comparison:
        """Champion and challenger on some examples, with a one-sided `confidence` bound."""
        champion_N, challenger_N = self.champion_correct_N, self.challenger_correct_N
        return paired_tests.compare(champion_N[is_in_N], challenger_N[is_in_N], 2 * confidence - 1)


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome. Figures are None where there is no champion, or no judged example.

    `interval` is two-sided at 90 %, so that its low end is the 95 % bound that decides.
    `p_value` is McNemar's, exact and one-sided: how often equals would look at least this bad.
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
        interval = None if self.interval is None else list(self.interval)
        return asdict(self) | {"checks": [asdict(c) for c in self.checks], "interval": interval}
