"""The state of a fine-tuning run: its scores and the best weights. Saved after each epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.blocks import checkpoint as checkpoint
from training.blocks.device import Compute
from training.blocks.learner import Learner
from training.blocks.tail import Tail, Weights

START, RAW, AVERAGED = "start", "raw", "averaged"


@dataclass(frozen=True, slots=True)
class Score:
    """The score of the held-out rows. The loss is taken at its best temperature, because a head is
    served with one. Label smoothing lowers confidence, which must not count as a worse model."""

    loss: float
    accuracy: float


UNKNOWN = Score(float("inf"), 0.0)


@dataclass(frozen=True, slots=True)
class Epoch:
    train_loss: float
    raw: Score
    averaged: Score | None
    # Of the steps and the scoring, and of filling the cache before them.
    seconds: float
    fill_seconds: float


@dataclass(slots=True, eq=False)
class TuningState:
    planned: int
    best_weights: Weights
    before: Score = UNKNOWN
    best: Score = UNKNOWN
    best_which: str = START
    best_epoch: int = 0
    history: list[Epoch] = field(default_factory=list)

    def set_start(self, score: Score) -> None:
        self.before = self.best = score

    def keep_if_better(self, score: Score, which: str, epoch: int, weights: Weights) -> None:
        if score.loss < self.best.loss:
            self.best, self.best_which, self.best_epoch = score, which, epoch
            self.best_weights = {name: tensor.clone() for name, tensor in weights.items()}

    def save(
        self, path: Path, run: str, tail: Tail, learner: Learner, compute: Compute, seconds: float
    ) -> None:
        facts = {
            "planned": self.planned,
            "before": dataclasses.asdict(self.before),
            "best": dataclasses.asdict(self.best),
            "best_which": self.best_which,
            "best_epoch": self.best_epoch,
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
            "seconds": seconds,
            "scaler": compute.scaler.state_dict(),
        }
        tensors = {
            **checkpoint.prefixed("tail/", tail.weights()),
            **checkpoint.prefixed("average/", learner.average.weights),
            **checkpoint.prefixed("best/", self.best_weights),
            **checkpoint.prefixed("adam/", checkpoint.optimizer_tensors(learner.optimizer)),
        }
        checkpoint.save(path, run, tensors, facts)

    def restore(
        self, path: Path, run: str, tail: Tail, learner: Learner, compute: Compute
    ) -> float | None:
        """Restore the last checkpoint. Returns the seconds before it, or None without one."""
        saved = checkpoint.load(path, run)
        if saved is None:
            return None
        tensors, facts = saved
        on_device = {name: tensor.to(compute.device) for name, tensor in tensors.items()}
        tail.load(checkpoint.under("tail/", on_device))
        learner.average.weights = checkpoint.under("average/", on_device)
        checkpoint.load_optimizer(learner.optimizer, checkpoint.under("adam/", tensors))
        compute.scaler.load_state_dict(facts["scaler"])
        self.best_weights = checkpoint.under("best/", on_device)
        self.planned = facts["planned"]
        self.before, self.best = Score(**facts["before"]), Score(**facts["best"])
        self.best_which, self.best_epoch = facts["best_which"], facts["best_epoch"]
        self.history = [_epoch(entry) for entry in facts["history"]]
        return float(facts["seconds"])


def _epoch(entry: Mapping[str, Any]) -> Epoch:
    averaged = entry["averaged"]
    scores = {
        "raw": Score(**entry["raw"]),
        "averaged": None if averaged is None else Score(**averaged),
    }
    return Epoch(**{**entry, **scores})
