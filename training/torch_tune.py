"""Tier `blocks`: fine-tune the last blocks of a backbone, starting from its trained head.

Linear probing, then fine-tuning (Kumar et al. 2022, "Fine-tuning can distort pretrained features"):
with a head that already fits, the first gradients do not tear up features that it relies on.

It owns the order of events. What learns is `torch_tail`, what it learns from `torch_activations`
and `torch_augment`, how fast and how long `tune_schedule`, what survives a crash `torch_checkpoint`.

N rows, V held-out rows, B batch, K classes with training rows; H/W pixels, C channels.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor
from torch.nn import functional as F

from core.errors import NotEnoughLabels, StateError
from training import torch_checkpoint as checkpoint
from training.calibration import choose_temperature
from training.head import Head
from training.torch_activations import Activations
from training.torch_augment import MIXUP_ALPHA, Augmentation, mixup, seed_of
from training.torch_device import Compute, learning_batch, reproducible
from training.torch_tail import Average, Tail, Weights
from training.tune_recipe import BlocksRecipe
from training.tune_schedule import (
    CANCELLED,
    EARLY_STOP,
    FINISHED,
    OUT_OF_TIME,
    Interrupted,
    Watch,
    lr_factor,
    num_thawed,
    plan_epochs,
)

START, RAW, AVERAGED = "start", "raw", "averaged"

OnProgress = Callable[[float, str, dict[str, float]], None]


class Diverged(StateError):
    code = "training-diverged"


@dataclass(frozen=True, slots=True)
class Score:
    """On the held-out rows. The loss is taken at its best temperature, as a head is served: label
    smoothing makes a model modest, which is put right afterwards and must not look like a loss."""

    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Epoch:
    train_loss: float
    raw: Score
    averaged: Score
    seconds: float
    fill_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    # In inference mode, on the CPU; the backbone as it was given when nothing was better.
    backbone: Any
    head: Head
    before: Score
    after: Score
    # START, RAW or AVERAGED, and the epoch at whose end they stood (0: before the first).
    weights: str
    best_epoch: int
    history: tuple[Epoch, ...]
    reason: str
    seconds: float
    notes: tuple[str, ...]

    @property
    def improved(self) -> bool:
        return self.weights != START


@dataclass(slots=True)
class _Best:
    score: Score
    which: str
    epoch: int
    weights: Weights

    def challenge(self, score: Score, which: str, epoch: int, weights: Weights) -> None:
        if score.loss < self.score.loss:
            self.score, self.which, self.epoch = score, which, epoch
            self.weights = {name: tensor.clone() for name, tensor in weights.items()}


def tune(
    backbone: Any,
    head: Head,
    pixels_NHWC: NDArray[np.uint8],
    y_N: NDArray[np.intp],
    is_held_out_N: NDArray[np.bool_],
    recipe: BlocksRecipe,
    folder: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    should_stop: Callable[[], bool] | None = None,
    on_progress: OnProgress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Tuned:
    """Fine-tune a copy of `backbone` and `head` on the rows that are not held out.

    `is_held_out_N` marks the rows that choose the epoch: part of the training examples, whole
    near-duplicate groups, and never what the gate judges by. `head` must not have seen them, or the
    start looks better than it is. `y_N` indexes `head.classes`; `pixels_NHWC` may be a memmap.

    `folder` keeps the activation cache and the checkpoint. Called again with the same arguments,
    a run that crashed or was cancelled goes on after its last whole epoch, and ends with the same
    weights as if it had never stopped. On the CPU of one machine with one number of threads, equal
    arguments give equal bits.

    `should_stop` and the time limit are asked at every step; `on_progress` is told the fraction of
    the run, a few words, and the losses. Raises Diverged, or NotEnoughLabels when no row is held
    out or fewer than two classes have training rows.
    """
    rows = _split(y_N, is_held_out_N)
    run = _digest(backbone, head, pixels_NHWC, y_N, is_held_out_N, recipe, seed)
    watch = Watch(clock, recipe.minutes * 60 or None, should_stop)
    compute = Compute(device)
    tail = Tail(copy.deepcopy(backbone), head, rows.classes_K, recipe.depth).eval()
    tail.to(compute.device, memory_format=torch.channels_last)
    folder.mkdir(parents=True, exist_ok=True)
    training, held_out = _activations(tail, compute, pixels_NHWC, rows, recipe, folder / run, seed)
    optimizer = torch.optim.AdamW(tail.groups(recipe))
    steps = -(-len(training) // recipe.batch_size)
    average = Average(tail, recipe.average_epochs * steps)
    best = _Best(Score(float("inf"), 0.0), START, 0, {})
    learn = _Learner(tail, average, optimizer, compute, training, rows, recipe)
    before, history, reason, epoch_s, fill_s = best.score, [], FINISHED, 0.0, 0.0
    save_path = folder / f"{run}.safetensors"

    def judge(weights: Weights | None = None) -> Score:
        return _score(tail, compute, held_out, rows.held_out_y_V, recipe, weights)

    def tell(done: float, text: str, **losses: float) -> None:
        if on_progress is not None:
            on_progress(min(1.0, done / max(1, planned)), text, losses)

    try:
        planned = recipe.epochs
        tell(0, "preparing the held-out photos")
        held_out.fill(0, watch.check_cancelled)
        saved = checkpoint.load(save_path, run)
        if saved is None:
            before = judge()
            best.challenge(before, START, 0, tail.weights())
        else:
            before, history, planned = _restore(saved, tail, average, optimizer, compute, best)
            watch.resume(saved[1]["seconds"])
        while len(history) < planned:
            done = len(history)
            began = watch.seconds
            tell(done, f"epoch {done + 1} of {planned}")
            with reproducible(compute, seed_of(seed, done)):
                rng = np.random.default_rng(seed_of(seed, done, 1))
                fills = training.num_unfilled
                training.fill(done, watch.check)
                filled_at = watch.seconds
                tail.train()
                tail.thaw(num_thawed(done, recipe.depth, recipe.unfreeze_every))
                losses = []
                for step, loss in enumerate(learn.epoch(done, planned, rng)):
                    losses.append(loss)
                    tell(done + (step + 1) / steps, f"epoch {done + 1} of {planned}", training=loss)
                    watch.check()
            raw, averaged = judge(), judge(average.weights if average.is_on else None)
            best.challenge(raw, RAW, done + 1, tail.weights())
            best.challenge(averaged, AVERAGED, done + 1, average.weights)
            if training.num_unfilled < fills:
                fill_s = filled_at - began
            epoch_s = watch.seconds - filled_at
            history.append(
                Epoch(float(np.mean(losses)), raw, averaged, watch.seconds - began, filled_at - began)
            )
            tell(done + 1, f"epoch {done + 1} of {planned}", held_out=min(raw.loss, averaged.loss))
            if done + 1 - best.epoch >= recipe.patience:
                reason = EARLY_STOP
                break
            planned = plan_epochs(
                recipe.epochs,
                done + 1,
                watch.remaining_s,
                epoch_s=epoch_s,
                fill_s=fill_s,
                fills_left=training.num_unfilled,
            )
            _save(save_path, run, tail, average, optimizer, compute, best, before, history, planned, watch)
        else:
            reason = FINISHED if planned == recipe.epochs else OUT_OF_TIME
    except Interrupted as interrupted:
        reason = interrupted.reason
        if reason == OUT_OF_TIME:  # what this epoch has learnt so far may be the best there is
            best.challenge(judge(), RAW, len(history) + 1, tail.weights())
            if average.is_on:
                best.challenge(judge(average.weights), AVERAGED, len(history) + 1, average.weights)
    return None
