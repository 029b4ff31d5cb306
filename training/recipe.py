"""The recipe: how to learn, and when. Read from TOML, frozen, and kept with every run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.gate.evidence import GatePolicy
from training.recipe_file import read_toml
from training.tune_recipe import BlocksRecipe
from training.worker.planner import PlannerPolicy


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
