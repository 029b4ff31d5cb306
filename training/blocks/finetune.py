"""Tier `blocks`: fine-tune the last blocks of a backbone, starting from its trained head.

Linear probing, then fine-tuning (Kumar et al. 2022, "Fine-tuning can distort pretrained features"):
with a head that already fits, the first gradients do not tear up features that it relies on.

It owns the order of events. What learns is `torch_tail`, what it learns from `torch_activations`
and `torch_augment`, a step `torch_learner`, how fast and how long `tune_schedule`, what survives a
crash `torch_standing`.

N rows, V held-out rows, T training rows, K classes with training rows; H/W pixels, C channels.
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
from training.blocks.activation_cache import Activations
from training.blocks.augment import seed_of
from training.blocks.device import Compute, reproducible
from training.blocks.inputs import activations, digest, split
from training.blocks.learner import Learner
from training.blocks.schedule import (
    CANCELLED,
    EARLY_STOP,
    FINISHED,
    OUT_OF_TIME,
    Interrupted,
    Watch,
    plan_epochs,
)
from training.blocks.state import AVERAGED, RAW, START, Epoch, Score, Standing
from training.blocks.tail import Tail
from training.head.calibration import choose_temperature
from training.head.head import Head
from training.tune_recipe import BlocksRecipe

__all__ = ["AVERAGED", "CANCELLED", "EARLY_STOP", "FINISHED", "OUT_OF_TIME", "RAW", "START"]
__all__ += ["Diverged", "Epoch", "Score", "Tuned", "tune"]

# Told the fraction of the run (0 to 1), a few words, and the losses known by then.
OnProgress = Callable[[float, str, dict[str, float]], None]

_A_RUNS_FILE = re.compile(r"[0-9a-f]{24}\.(training|held-out|safetensors)\b")


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    # In inference mode, on the CPU; the weights that were given when none were better.
    backbone: Any
    head: Head
    before: Score
    after: Score
    # START, RAW or AVERAGED, and the number of epochs that they had learnt for.
    weights: str
    best_epoch: int
    history: tuple[Epoch, ...]
    # FINISHED, EARLY_STOP, OUT_OF_TIME or CANCELLED.
    reason: str
    seconds: float
    # What did not go as the recipe wished: a cache that was too small, for one.
    notes: tuple[str, ...]

    @property
    def improved(self) -> bool:
        return self.weights != START


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
    near-duplicate groups, and never those that the gate judges by. `head` must not have seen them,
    or the start looks better than it is. `y_N` indexes `head.classes`; `pixels_NHWC` may be a
    memmap, of the backbone's pixel spec.

    `folder` keeps the activation cache and the checkpoint of one run: those of others are deleted.
    Called again with the same arguments
    (`minutes` and the callbacks apart), a run that crashed or was cancelled goes on after its last
    whole epoch and ends with the weights of one that never stopped. On the CPU of one machine, with
    one number of threads, equal arguments give equal bits, unless the time limit cuts in.

    Raises Diverged, and NotEnoughLabels when no row is held out or fewer than two classes are left.
    """
    rows = split(y_N, is_held_out_N)
    run = digest(backbone, head, pixels_NHWC, y_N, is_held_out_N, recipe, seed)
    watch = Watch(clock, recipe.minutes * 60 or None, should_stop)
    compute = Compute(device)
    tail = Tail(copy.deepcopy(backbone), head, rows.classes_K, recipe.depth).eval()
    tail.to(compute.device, memory_format=torch.channels_last)
    folder.mkdir(parents=True, exist_ok=True)
    _tidy(folder, run)
    checkpoint = folder / f"{run}.safetensors"
    held_out, training = activations(tail, compute, pixels_NHWC, rows, recipe, folder / run, seed)
    learner = Learner(tail, compute, training, rows.y_T, recipe)
    average = learner.average
    standing = Standing(recipe.epochs, tail.weights())

    def judge(*, averaged: bool = False) -> Score:
        return _score(tail, compute, held_out, rows.y_V, learner if averaged else None)

    def challenge(epoch: int) -> tuple[Score, Score | None]:
        raw = judge()
        standing.challenge(raw, RAW, epoch, tail.weights())
        smooth = judge(averaged=True) if average.is_on else None
        if smooth is not None:
            standing.challenge(smooth, AVERAGED, epoch, average.weights)
        return raw, smooth

    def tell(epochs_done: float, **losses: float) -> None:
        if on_progress is not None:
            text = f"epoch {min(int(epochs_done) + 1, standing.planned)} of {standing.planned}"
            on_progress(min(1.0, epochs_done / max(1, standing.planned)), text, losses)

    fill_s = 0.0
    reason = FINISHED
    try:
        tell(0)
        held_out.fill(0, watch.check_cancelled)
        spent_s = standing.restore(checkpoint, run, tail, learner, compute)
        if spent_s is None:
            standing.begin(judge())
        else:
            watch.resume(spent_s)
        while (done := len(standing.history)) < standing.planned:
            began_s = watch.seconds
            training.fill(done, watch.check)
            filled_s = watch.seconds
            fill_s = max(fill_s, filled_s - began_s)
            losses = []
            with reproducible(compute, seed_of(seed, done)):
                rng = np.random.default_rng(seed_of(seed, done, 1))
                for loss in learner.epoch(done, standing.planned, rng):
                    losses.append(loss)
                    tell(done + len(losses) / learner.num_steps, training=loss)
                    watch.check()
            raw, averaged = challenge(done + 1)
            epoch_s = watch.seconds - filled_s
            train_loss = float(np.mean(losses))
            standing.history.append(Epoch(train_loss, raw, averaged, epoch_s, filled_s - began_s))
            tell(done + 1, training=train_loss, held_out=raw.loss, best=standing.best.loss)
            if done + 1 - standing.best_epoch >= recipe.patience:
                reason = EARLY_STOP
                break
            standing.planned = plan_epochs(
                recipe.epochs,
                done + 1,
                watch.remaining_s,
                epoch_s=epoch_s,
                fill_s=fill_s,
                fills_left=training.num_unfilled,
            )
            standing.save(checkpoint, run, tail, learner, compute, watch.seconds)
        else:
            reason = FINISHED if standing.planned == recipe.epochs else OUT_OF_TIME
    except Interrupted as interrupted:
        reason = interrupted.reason
        if reason == OUT_OF_TIME:  # what half an epoch taught may be the best there is
            challenge(len(standing.history) + 1)
    except Diverged:
        _delete(checkpoint, held_out, training)
        raise
    if reason != CANCELLED:
        _delete(checkpoint, held_out, training)
    tail.load(standing.best_weights)
    tail.to("cpu", memory_format=torch.contiguous_format).eval().requires_grad_(True)
    return Tuned(
        backbone=tail.backbone,
        head=tail.trained_head(),
        before=standing.before,
        after=standing.best,
        weights=standing.best_which,
        best_epoch=standing.best_epoch,
        history=tuple(standing.history),
        reason=reason,
        seconds=watch.seconds,
        notes=(*held_out.notes, *training.notes),
    )


def _score(
    tail: Tail,
    compute: Compute,
    held_out: Activations,
    y_V: NDArray[np.intp],
    averaged: Learner | None,
) -> Score:
    """Judge the tail, with its own weights or for the moment with the averaged ones."""
    own = tail.weights() if averaged else None
    if averaged:
        tail.load(averaged.average.weights)
    tail.eval()
    logits = []
    with torch.no_grad(), compute.autocast():
        for start in range(0, len(held_out), held_out.batch_size):
            at_B = np.arange(start, min(start + held_out.batch_size, len(held_out)))
            logits.append(tail(held_out.batch(np.zeros_like(at_B), at_B)).float().cpu().numpy())
    if own is not None:
        tail.load(own)
    logits_VK = np.concatenate(logits)
    temperature = choose_temperature(logits_VK, y_V)
    log_probs_VK = log_softmax(logits_VK.astype(np.float64) / temperature, axis=1)
    accuracy = float((logits_VK.argmax(axis=1) == y_V).mean())
    return Score(float(-log_probs_VK[np.arange(len(y_V)), y_V].mean()), accuracy)


def _tidy(folder: Path, run: str) -> None:
    """Delete what crashed or cancelled runs left that nobody will take up: gigabytes at times."""
    for path in folder.iterdir():
        if _A_RUNS_FILE.match(path.name) and not path.name.startswith(run):
            path.unlink()
    delete_unfinished(folder)


def _delete(checkpoint: Path, *activations: Activations) -> None:
    checkpoint.unlink(missing_ok=True)
    for kept in activations:
        kept.delete()
