"""How soon self-healing detects a champion that is ten points worse than the one before.

    python -m bench.drop_detection [--trials 6]

The data are handwritten digits, the backbone is the starter. The earlier head is fitted to 300
labels, and the live one is made worse in four ways. The sequential test uses only digits that
exactly one of the two classifies correctly. It needs fewer labels the more the errors coincide.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from core.inputs.pixels import decoding as pixels
from core.models.backbones import Runtime
from core.models.pretrained.starter import NAME as STARTER
from core.models.servable import load
from core.registry import versions
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.store import open_store
from tests.support.digits import digits
from training.head.design_matrix import prepare
from training.head.regression import fit
from training.worker import sequential_test

NUM_LABELS, NUM_POOL, NUM_CLASSES = 300, 900, 10
PENALTY = 0.01
DROPS = (0.08, 0.12)
_STREAMS = 4000

Labels = tuple[NDArray[np.intp], NDArray[np.intp]]  # rows, and their labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=6)
    trials = parser.parse_args().trials
    x_ND, y_N = embedded_digits()
    rng = np.random.default_rng(0)
    table = Table(title="Heads on one backbone, one of them 8 to 12 points worse")
    for name in ("made worse by", "pairs", "only before", "only live", "caught within 150 labels"):
        table.add_column(name, justify="right" if name != "made worse by" else "left")
    pairs_of: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for _ in range(trials):
        rows = rng.choice(NUM_POOL, NUM_LABELS, replace=False)
        before_N = correct(x_ND, y_N, (rows, y_N[rows]))
        for name, degrade in WAYS.items():
            for level in range(1, 7):
                live_N = correct(x_ND, y_N, degrade(rows, y_N, level, rng))
                if DROPS[0] <= before_N.mean() - live_N.mean() <= DROPS[1]:
                    pair = (float((before_N & ~live_N).mean()), float((live_N & ~before_N).mean()))
                    pairs_of[name].append(pair)
    for name, pairs in pairs_of.items():
        if pairs:
            only_before, only_live = np.mean(pairs, axis=0)
            caught = share_caught(only_before, only_live, rng)
            shares = (f"{share:.1%}" for share in (only_before, only_live, caught))
            table.add_row(name, str(len(pairs)), *shares)
    Console().print(table)


def embedded_digits() -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    everything = digits()
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Settings(home=Path(folder)))
        ensure_first_version(store, STARTER)
        with store.db.read() as conn:
            manifest = versions.read_manifest(versions.get(conn, 1), store)
        backbone = load(manifest, store.blobs, Runtime("cpu")).backbone
        store.db.close()
    x_ND = np.concatenate(
        [
            backbone.embed(pixels.decode(d.image, manifest.input_spec)[np.newaxis])
            for d in everything
        ]
    )
    names = sorted({digit.label for digit in everything})
    return x_ND, np.array([names.index(digit.label) for digit in everything])


def correct(x_ND: NDArray[np.float32], y_N: NDArray[np.intp], labels: Labels) -> NDArray[np.bool_]:
    """Fit a head to these labels. Returns which digits outside the pool it classifies correctly."""
    rows, label_N = labels
    design = prepare(x_ND[rows])
    fitted = design.head(
        fit(design, label_N, NUM_CLASSES, l2=PENALTY), tuple(map(str, range(NUM_CLASSES)))
    )
    correct_N: NDArray[np.bool_] = fitted.logits(x_ND[NUM_POOL:]).argmax(axis=1) == y_N[NUM_POOL:]
    return correct_N


Degrade = Callable[[NDArray[np.intp], NDArray[np.intp], int, np.random.Generator], Labels]


def _fewer(rows: NDArray[np.intp], y_N: NDArray[np.intp], level: int, _: object) -> Labels:
    kept = rows[: int(NUM_LABELS / (1 + 0.8 * level))]
    return kept, y_N[kept]


def _random(
    rows: NDArray[np.intp], y_N: NDArray[np.intp], level: int, rng: np.random.Generator
) -> Labels:
    label = y_N[rows].copy()
    label[: 30 * level] = rng.integers(0, NUM_CLASSES, 30 * level)
    return rows, label


def _confused(
    rows: NDArray[np.intp], y_N: NDArray[np.intp], level: int, rng: np.random.Generator
) -> Labels:
    label = y_N[rows].copy()
    label[(label == 3) & (rng.random(len(label)) < level / 6)] = 8
    return rows, label


def _careless(
    rows: NDArray[np.intp], y_N: NDArray[np.intp], level: int, rng: np.random.Generator
) -> Labels:
    more = rng.choice(NUM_POOL, 100 * level)
    label = np.where(
        rng.random(len(more)) < 0.35, rng.integers(0, NUM_CLASSES, len(more)), y_N[more]
    )
    return np.concatenate([rows, more]), np.concatenate([y_N[rows], label])


WAYS: dict[str, Degrade] = {
    "fewer labels": _fewer,
    "labels at random": _random,
    "one class taken for another": _confused,
    "many careless new labels": _careless,
}


def share_caught(only_before: float, only_live: float, rng: np.random.Generator) -> float:
    u_SN = rng.random((_STREAMS, 150))
    b_SN = np.cumsum(u_SN < only_before, axis=1)
    c_SN = np.cumsum(u_SN > 1 - only_live, axis=1)
    enough = sequential_test.log_evidence(b_SN, c_SN) >= -math.log(sequential_test.MAX_ALPHA)
    return float(enough.any(axis=1).mean())


if __name__ == "__main__":
    main()
