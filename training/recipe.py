"""The recipe: how to learn, and when. Read from TOML, frozen, and kept with every run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from training.recipe_file import read_toml

Strength = Literal["none", "light", "medium", "strong"]
STRENGTHS: tuple[Strength, ...] = ("none", "light", "medium", "strong")


@dataclass(frozen=True, slots=True)
class TriggerRecipe:
    after_labels: int = 10
    after_quiet_s: float = 0.5
    every_s: float = 3600.0
    min_interval_s: float = 0.0
    pause_after_failure_s: float = 60.0


@dataclass(frozen=True, slots=True)
class HeadRecipe:
    num_folds: int = 5
    balance: float = 0.5
    target_precision: float = 0.9


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


@dataclass(frozen=True, slots=True)
class PlannerPolicy:
    # Fewer in all, or in its median class, is too little to move a backbone without harm.
    min_examples: int = 200
    min_examples_of_class: int = 20
    # Many: from here on everything can be trained without overfitting at once.
    many_examples: int = 2_000
    many_examples_of_class: int = 200
    # Probe accuracy above chance, 0 (guessing) to 1 (perfect): from here on the task is similar.
    similar: float = 0.85
    # Nothing worth minutes of training is left to gain.
    solved: float = 0.99
    # Train blocks again when there is so much more to learn from; after one that was held back,
    # the square of it.
    growth: float = 1.5
    # How many of the blocks are the last ones.
    last_blocks: float = 0.45
    # The largest class over the smallest: beyond, fewer epochs would still overfit the rare ones.
    max_imbalance: float = 50.0
    # Off: blocks are trained on request only.
    is_automatic: bool = True


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


@dataclass(frozen=True, slots=True)
class Recipe:
    triggers: TriggerRecipe = field(default_factory=TriggerRecipe)
    head: HeadRecipe = field(default_factory=HeadRecipe)
    blocks: BlocksRecipe = field(default_factory=BlocksRecipe)
    planner: PlannerPolicy = field(default_factory=PlannerPolicy)
    gate: GatePolicy = field(default_factory=GatePolicy)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def load_recipe(path: Path | None) -> Recipe:
    """The recipe of a TOML file, or the built-in one. Raises InvalidRecipe with all problems."""
    return Recipe() if path is None else read_toml(path, Recipe, _out_of_range)


def _out_of_range(recipe: Recipe) -> list[str]:
    problems = [
        f"triggers.{f.name} = {getattr(recipe.triggers, f.name)}: must not be negative"
        for f in dataclasses.fields(recipe.triggers)
        if getattr(recipe.triggers, f.name) < 0
    ]
    if recipe.head.num_folds < 2:
        problems.append(f"head.num_folds = {recipe.head.num_folds}: must be at least 2")
    for name in ("balance", "target_precision"):
        value = getattr(recipe.head, name)
        if not 0 <= value <= 1:
            problems.append(f"head.{name} = {value}: must be from 0 to 1")
    if not 0.5 < recipe.gate.confidence < 1:
        problems.append(f"gate.confidence = {recipe.gate.confidence}: must be between 0.5 and 1")
    return problems + [f"blocks.{problem}" for problem in recipe.blocks.problems()]
