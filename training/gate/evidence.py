"""What the gate gets and what it returns: evidence and decision, as plain values.

All rates are shares of one. Suffixes: N one entry per judged example, K one per class.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.review.comparing import paired_tests
from core.review.comparing.paired_tests import Bools, Comparison

Method = Literal["hold-out", "cross-validation"]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What was measured of a challenger, through its exported ONNX.

    `label_N` indexes `classes`. A version is wrong about an example whose class it does not know.
    In cross-validation every version is judged out of fold.
    `champion_version` is None for the first version ever, and `champion_correct_N` is then ignored.
    `best_correct_N` is None if no earlier champion beats today's on these examples.
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
    # Over the same backbone in float32; None: the backbone was not quantised in this run.
    int8_latency_ratio: float | None = None

    @property
    def kept_classes(self) -> list[str]:
        return [name for name in self.classes if name in self.old_classes]

    @property
    def added_classes(self) -> list[str]:
        return [name for name in self.classes if name not in self.old_classes]

    @property
    def is_old_N(self) -> Bools:
        is_old_K = np.array([name in self.old_classes for name in self.classes], dtype=np.bool_)
        return np.asarray(is_old_K[self.label_N])

    def compare(self, is_in_N: Bools | slice, confidence: float) -> Comparison:
        """Compare champion and challenger on some examples, with one-sided `confidence` bounds."""
        champion_N, challenger_N = self.champion_correct_N, self.challenger_correct_N
        return paired_tests.compare(champion_N[is_in_N], challenger_N[is_in_N], 2 * confidence - 1)


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome. Figures are None without a champion or without judged examples.

    `interval` is two-sided at 90 %, so its low end is the one-sided 95 % bound that decides.
    `p_value` is McNemar's, exact and one-sided: how often equal versions look at least this bad.
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
