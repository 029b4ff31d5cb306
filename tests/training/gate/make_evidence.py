"""Made-up evidence for the gate. Suffix N and counts are those of training/gate/rules.py."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from training.gate.evidence import Evidence
from training.gate.rules import choose_method, decide
from training.recipe import GatePolicy

POLICY = GatePolicy()
N = 1000


def evidence(champion: object, challenger: object, **changes: object) -> Evidence:
    """Two classes in turn, with all bounds kept. It is a hold-out if it is large enough."""
    champion_N, challenger_N = np.array(champion, dtype=bool), np.array(challenger, dtype=bool)
    n = len(challenger_N)
    whole = Evidence(
        method=choose_method(n, POLICY),
        classes=("cat", "dog"),
        label_N=np.arange(n) % 2,
        champion_correct_N=champion_N,
        challenger_correct_N=challenger_N,
        old_classes=frozenset({"cat", "dog"}),
        champion_version=7,
        parity=1e-6,
        latency_ratio=1.0,
        size_bytes=9_000_000,
    )
    return replace(whole, **changes)


def correct(n: int, num_right: int) -> NDArray[np.bool_]:
    return np.arange(n) < num_right


def failed(decision_of: Evidence) -> list[str]:
    return [check.name for check in decide(decision_of, POLICY).checks if not check.passed]
