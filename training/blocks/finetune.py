"""Tier `blocks`: fine-tune the last blocks of a backbone, starting from its trained head.

Linear probing, then fine-tuning (Kumar et al. 2022, "Fine-tuning can distort pretrained features"):
the head fits already, so the first gradients do not destroy features that it uses.

It owns the order of events. `tail` holds the weights that are trained, `inputs` what they learn
from, `learner` an epoch, `schedule` rates and lengths, `state` the checkpoint.

N rows, V held-out rows, T training rows, K classes with training rows.
"""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from core.errors import Diverged
from core.system.files import delete_unfinished
from training.blocks.device import Compute, mix_seed, reproducible
from training.blocks.inputs import Activations, TuningInputs
from training.blocks.learner import Learner
from training.blocks.rows import activations, digest, split
from training.blocks.schedule import (
    CANCELLED,
    EARLY_STOP,
    FINISHED,
    OUT_OF_TIME,
    Interrupted,
    TimeBudget,
    plan_epochs,
)
from training.blocks.state import AVERAGED, RAW, START, Epoch, Score, TuningState
from training.blocks.tail import Tail
from training.head.calibration import choose_temperature
from training.head.head import Head
from training.recipe import TuningRecipe

__all__ = ["AVERAGED", "CANCELLED", "EARLY_STOP", "FINISHED", "OUT_OF_TIME", "RAW", "START"]
__all__ += ["Diverged", "Epoch", "Score", "Tuned", "tune"]

# Called with the fraction of the run (0 to 1), a few words, and the figures known by then: losses,
# and after an epoch its number and the accuracy of the held-out rows.
OnProgress = Callable[[float, str, dict[str, float]], None]

_RUN_FILE = re.compile(r"[0-9a-f]{24}\.(training|held-out|safetensors)\b")


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    # In inference mode, on the CPU. It has the given weights if no epoch was better.
    backbone: Any
    head: Head
    before: Score
    after: Score
    # START, RAW or AVERAGED, and the number of epochs before them.
    weights: str
    best_epoch: int
    history: tuple[Epoch, ...]
    # FINISHED, EARLY_STOP, OUT_OF_TIME or CANCELLED.
    reason: str
    seconds: float
    # What differed from the recipe, such as a cache that was too small.
    notes: tuple[str, ...]

    @property
    def improved(self) -> bool:
        return self.weights != START


def tune(
    backbone: Any,
    head: Head,
    inputs: TuningInputs,
    y_N: NDArray[np.intp],
    is_held_out_N: NDArray[np.bool_],
    recipe: TuningRecipe,
    folder: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    should_stop: Callable[[], bool] | None = None,
    on_progress: OnProgress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Tuned:
    """Fine-tune a copy of `backbone` and `head` on the rows that are not held out.

    `is_held_out_N` marks the rows that choose the epoch. They are training examples in whole
    near-duplicate groups, and never the hold-out of the gate. `head` must not be fitted on them, or
    the start scores too well. `y_N` indexes `head.classes`.

    `folder` holds the activation cache and the checkpoint of one run. Files of other runs are
    deleted. A crashed or cancelled run that is called again with the same arguments continues after
    its last complete epoch, and gets the weights of an uninterrupted run. `minutes` and the
    callbacks may differ. On the CPU of one machine, with one number of threads, equal arguments
    give equal bits, unless the time limit ends the run.

    Raises Diverged, and NotEnoughLabels if no row is held out or fewer than two classes are left.
    """
    rows = split(y_N, is_held_out_N)
    run = digest(backbone, head, inputs, y_N, is_held_out_N, recipe, seed)
    budget = TimeBudget(clock, recipe.minutes * 60 or None, should_stop)
    compute = Compute(device)
    tail = Tail(copy.deepcopy(backbone), head, rows.classes_K, recipe.depth).eval()
    tail.to(compute.device, memory_format=torch.channels_last)
    folder.mkdir(parents=True, exist_ok=True)
    _tidy(folder, run)
    checkpoint = folder / f"{run}.safetensors"
    held_out, training = activations(tail, compute, inputs, rows, recipe, folder / run, seed)
    learner = Learner(tail, compute, training, rows.y_T, recipe)
    average = learner.average
    state = TuningState(recipe.epochs, tail.weights())

    def score(*, averaged: bool = False) -> Score:
        return _score(tail, compute, held_out, rows.y_V, learner if averaged else None)

    def keep_the_best(epoch: int) -> tuple[Score, Score | None]:
        raw = score()
        state.keep_if_better(raw, RAW, epoch, tail.weights())
        averaged = score(averaged=True) if average.is_on else None
        if averaged is not None:
            state.keep_if_better(averaged, AVERAGED, epoch, average.weights)
        return raw, averaged

    def report(epochs_done: float, **losses: float) -> None:
        if on_progress is not None:
            text = f"epoch {min(int(epochs_done) + 1, state.planned)} of {state.planned}"
            on_progress(min(1.0, epochs_done / max(1, state.planned)), text, losses)

    fill_s = 0.0
    reason = FINISHED
    try:
        report(0)
        held_out.fill(0, budget.check_cancelled)
        spent_s = state.restore(checkpoint, run, tail, learner, compute)
        if spent_s is None:
            state.set_start(score())
        else:
            budget.resume(spent_s)
        while (done := len(state.history)) < state.planned:
            began_s = budget.seconds
            training.fill(done, budget.check)
            filled_s = budget.seconds
            fill_s = max(fill_s, filled_s - began_s)
            losses = []
            with reproducible(compute, mix_seed(seed, done)):
                rng = np.random.default_rng(mix_seed(seed, done, 1))
                for loss in learner.epoch(done, state.planned, rng):
                    losses.append(loss)
                    report(done + len(losses) / learner.num_steps, training=loss)
                    budget.check()
            raw, averaged = keep_the_best(done + 1)
            epoch_s = budget.seconds - filled_s
            train_loss = float(np.mean(losses))
            state.history.append(Epoch(train_loss, raw, averaged, epoch_s, filled_s - began_s))
            figures = {"epoch": done + 1.0, "held_out": raw.loss, "accuracy": raw.accuracy}
            report(done + 1, **figures, training=train_loss, best=state.best.loss)
            if done + 1 - state.best_epoch >= recipe.patience:
                reason = EARLY_STOP
                break
            state.planned = plan_epochs(
                recipe.epochs,
                done + 1,
                budget.remaining_s,
                epoch_s=epoch_s,
                fill_s=fill_s,
                fills_left=training.num_unfilled,
            )
            state.save(checkpoint, run, tail, learner, compute, budget.seconds)
        else:
            reason = FINISHED if state.planned == recipe.epochs else OUT_OF_TIME
    except Interrupted as interrupted:
        reason = interrupted.reason
        if reason == OUT_OF_TIME:  # the weights after part of an epoch may be the best
            keep_the_best(len(state.history) + 1)
    except Diverged:
        _delete(checkpoint, held_out, training)
        raise
    if reason != CANCELLED:
        _delete(checkpoint, held_out, training)
    tail.load(state.best_weights)
    tail.to("cpu", memory_format=torch.contiguous_format).eval().requires_grad_(True)
    return Tuned(
        backbone=tail.backbone,
        head=tail.trained_head(),
        before=state.before,
        after=state.best,
        weights=state.best_which,
        best_epoch=state.best_epoch,
        history=tuple(state.history),
        reason=reason,
        seconds=budget.seconds,
        notes=(*held_out.notes, *training.notes),
    )


def _score(
    tail: Tail,
    compute: Compute,
    held_out: Activations,
    y_V: NDArray[np.intp],
    averaged: Learner | None,
) -> Score:
    """Score the tail on the held-out rows, with its own or the averaged weights."""
    own = tail.weights() if averaged else None
    if averaged:
        tail.load(averaged.average.weights)
    tail.eval()
    logits_VK = np.empty((len(y_V), tail.head.out_features), np.float32)
    with torch.no_grad(), compute.autocast():
        for at_B, activation in held_out.batches():
            logits_VK[at_B] = tail(activation).float().cpu().numpy()
    if own is not None:
        tail.load(own)
    temperature = choose_temperature(logits_VK, y_V)
    log_probs_VK = log_softmax(logits_VK.astype(np.float64) / temperature, axis=1)
    accuracy = float((logits_VK.argmax(axis=1) == y_V).mean())
    return Score(float(-log_probs_VK[np.arange(len(y_V)), y_V].mean()), accuracy)


def _tidy(folder: Path, run: str) -> None:
    """Delete the files of crashed or cancelled runs that nobody will resume: up to gigabytes."""
    for path in folder.iterdir():
        if _RUN_FILE.match(path.name) and not path.name.startswith(run):
            path.unlink()
    delete_unfinished(folder)


def _delete(checkpoint: Path, *activations: Activations) -> None:
    checkpoint.unlink(missing_ok=True)
    for kept in activations:
        kept.delete()
