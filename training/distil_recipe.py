"""How to distil: the recipe of a distillation, and which run it belongs to. Loads no torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import InvalidRequest
from training.recipe_file import read_toml


@dataclass(frozen=True, slots=True)
class DistilRecipe:
    #: Images are kept at this size, as uint8; every view is made from there.
    image_px: int = 64
    #: What the teacher sees. It looks at each whole image once.
    teacher_px: int = 128
    #: What the student sees, until the finish and during it. The finish should be its own size.
    size_px: int = 64
    finish_px: int = 96
    finish_share: float = 0.4
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warmup_share: float = 0.03
    #: Decay of the running average of the weights, by step.
    average: float = 0.999
    #: Views: smallest share of the area, colour jitter, share of views sharpened or softened.
    crop: float = 0.4
    colour: float = 0.25
    sharpen: float = 0.3
    #: Weights of the losses: to the teacher's embedding, to its probe's probabilities, to labels.
    embedding_weight: float = 3.0
    probe_weight: float = 0.5
    label_weight: float = 0.25
    temperature: float = 2.0
    label_smoothing: float = 0.1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class DistilConfig:
    """One distillation. Its budget is `minutes` of wall clock or a number of `steps`."""

    images: tuple[Path, ...]
    out: Path
    student: str = "starter"
    teacher: str = "torchvision/mobilenet_v2"
    teacher_weights: Path | None = None
    minutes: float | None = 30.0
    steps: int | None = None
    resume: bool = False
    threads: int = 0
    checkpoint_every_s: float = 120.0
    recipe: DistilRecipe = field(default_factory=DistilRecipe)

    def __post_init__(self) -> None:
        if not self.images:
            raise InvalidRequest("there are no images to distil on: name a folder or an .npz")
        if (self.minutes is None) == (self.steps is None):
            raise InvalidRequest("the budget of a distillation is either minutes or steps")


def load_recipe(path: Path | None) -> DistilRecipe:
    """The recipe of a TOML file, or the built-in one. Raises InvalidRecipe with all problems."""
    return DistilRecipe() if path is None else read_toml(path, DistilRecipe, _out_of_range)


def _out_of_range(recipe: DistilRecipe) -> list[str]:
    shares = ("finish_share", "warmup_share", "average", "crop", "colour", "sharpen")
    values = dataclasses.asdict(recipe)
    problems = [
        f"{name} = {values[name]}: must be from 0 to 1"
        for name in (*shares, "label_smoothing")
        if not 0 <= values[name] <= 1
    ]
    sizes = [name for name in values if name.endswith("_px")]
    return problems + [
        f"{name} = {values[name]}: must be above 0"
        for name in (*sizes, "batch", "learning_rate", "temperature")
        if values[name] <= 0
    ]
