"""An epoch of fine-tuning, step by step.

N rows, B batch, K classes with training rows; `_...` stands for the axes of an activation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from core.errors import Diverged
from training.blocks.device import Compute
from training.blocks.inputs import Activations
from training.blocks.schedule import lr_factor, num_unfrozen
from training.blocks.tail import Average, Tail
from training.recipe import TuningRecipe


class Learner:
    def __init__(
        self,
        tail: Tail,
        compute: Compute,
        activations: Activations,
        y_N: NDArray[np.intp],
        recipe: TuningRecipe,
    ) -> None:
        """`y_N` are the classes of the rows of `activations`, as columns of the tail's head."""
        self._tail, self._compute, self._recipe = tail, compute, recipe
        self.activations = activations
        self.num_steps = math.ceil(len(activations) / recipe.batch_size)
        self.optimizer = torch.optim.AdamW(tail.groups(recipe), fused=True)
        self.average = Average(tail, recipe.average_epochs * self.num_steps)
        activations.prepare(recipe.batch_size)
        num_classes = tail.head.out_features
        smoothing = recipe.label_smoothing
        target_NK = torch.nn.functional.one_hot(torch.from_numpy(y_N), num_classes).float()
        self._target_NK = target_NK * (1 - smoothing) + smoothing / num_classes
        self._weight_K = _class_weights(y_N, num_classes, recipe.class_balance).to(compute.device)

    def epoch(self, epoch: int, planned: int, rng: np.random.Generator) -> Iterator[float]:
        """Train on every row once, in an order drawn from `rng`. Yields the loss of each step."""
        recipe, tail, activations = self._recipe, self._tail, self.activations
        tail.train()
        tail.unfreeze(num_unfrozen(epoch, recipe.depth, recipe.unfreeze_every))
        order_N = rng.permutation(len(activations))
        view_N = activations.views(epoch, rng)
        for step in range(self.num_steps):
            self._set_lr((epoch + (step + 0.5) / self.num_steps) / planned)
            at_B = order_N[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            # The order within a batch is free, and the disk reads fastest in this one.
            at_B = np.sort(at_B)
            target_BK = self._target_NK[torch.from_numpy(at_B)].to(self._compute.device)
            parts = activations.microbatches(view_N[at_B], at_B, target_BK, rng)
            yield self._step(parts, len(at_B))

    def _step(self, parts: Iterator[tuple[Tensor, Tensor]], num_rows: int) -> float:
        tail, scaler = self._tail, self._compute.scaler
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for activation, target_BK in parts:
            with self._compute.autocast():
                logits = tail(activation)
            loss = F.cross_entropy(logits.float(), target_BK, self._weight_K, reduction="sum")
            loss = loss / num_rows
            scaler.scale(loss).backward()
            total += float(loss.detach())
        if not math.isfinite(total):
            raise Diverged(
                f"the training loss became {total}: lower lr ({self._recipe.lr}) in the recipe, "
                "or tune fewer blocks"
            )
        scaler.unscale_(self.optimizer)
        trained = [p for p in tail.parameters() if p.grad is not None]
        torch.nn.utils.clip_grad_norm_(trained, self._recipe.clip_norm)
        scaler.step(self.optimizer)
        scaler.update()
        self.average.update()
        return total

    def _set_lr(self, progress: float) -> None:
        factor = lr_factor(progress, self._recipe.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["full_lr"] * factor


def _class_weights(y_N: NDArray[np.intp], num_classes: int, balance: float) -> Tensor:
    """Return (n / (K n_k))^balance, scaled so that the mean weight of a row is 1."""
    count_K = np.bincount(y_N, minlength=num_classes)
    weight_K = (len(y_N) / (num_classes * count_K)) ** balance
    return torch.from_numpy(weight_K / weight_K[y_N].mean()).float()
