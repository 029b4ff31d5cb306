"""How tier `blocks` learns: the part of the recipe that `training/blocks/finetune.py` follows.

Plain values, without torch, so that the planner and the worker can read and change them. The
defaults were chosen on photographs; `python -m bench.tune` measures them again.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

Strength = Literal["none", "light", "medium", "strong"]
STRENGTHS: tuple[Strength, ...] = ("none", "light", "medium", "strong")


@dataclass(frozen=True, slots=True)
class BlocksRecipe:
    # How many blocks learn, counted from the last. The activations before them are cached.
    depth: int = 6
    # Measured on 2,934 photos of flowers: with 20, the best weights were those of the 6th.
    epochs: int = 10
    # Above 0, one more block joins every so many epochs, the last block first (ULMFiT, Howard and
    # Ruder 2018). 0: all of them from the start, each at its own rate.
    unfreeze_every: int = 0

    batch_size: int = 32
    # Of the last block. The head has its own: it comes trained, and must only follow.
    lr: float = 1e-3
    head_lr: float = 1e-3
    # The rate of each block over that of the next one up: early features are the general ones.
    lr_decay: float = 0.8
    # This share of the steps rises from 0, the rest falls to 0 along a cosine.
    warmup: float = 0.1
    weight_decay: float = 0.05
    clip_norm: float = 1.0

    label_smoothing: float = 0.1
    # As for the head: each class weighs (n / (K n_k))^balance.
    balance: float = 0.5

    augment: Strength = "medium"
    # Off where left and right mean something: text, road signs, digits.
    flip: bool = True
    # How many augmented variants of each photo are cached, taken in turns.
    views: int = 4

    # Epochs without a better held-out loss before the run ends.
    patience: int = 5
    # The averaged weights look back over about so many epochs. 0: no averaging.
    average_epochs: float = 2.0
    # 0: no limit. The best model by then is kept.
    minutes: float = 0.0

    # Disk for cached activations, and memory for those of a microbatch.
    cache_mb: int = 4096
    memory_mb: int = 1024

    def problems(self) -> list[str]:
        """Say what is out of range, by field; nothing when all is well."""
        found = []
        for name in ("depth", "epochs", "batch_size", "patience", "memory_mb"):
            if getattr(self, name) < 1:
                found.append(f"{name} = {getattr(self, name)}: must be at least 1")
        for name in ("lr", "head_lr", "lr_decay", "clip_norm"):
            if not getattr(self, name) > 0:
                found.append(f"{name} = {getattr(self, name)}: must be above 0")
        if self.lr_decay > 1:
            found.append(f"lr_decay = {self.lr_decay}: must be at most 1")
        for name in ("warmup", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                found.append(f"{name} = {getattr(self, name)}: must be from 0 to below 1")
        if not 0 <= self.balance <= 1:
            found.append(f"balance = {self.balance}: must be from 0 to 1")
        signless = ("unfreeze_every", "weight_decay", "views", "average_epochs", "minutes")
        for name in (*signless, "cache_mb"):
            if not getattr(self, name) >= 0:
                found.append(f"{name} = {getattr(self, name)}: must not be negative")
        if self.augment not in STRENGTHS:
            found.append(f"augment = {self.augment!r}: there are {', '.join(STRENGTHS)}")
        return found

    def to_json(self) -> dict[str, object]:
        return dataclasses.asdict(self)
