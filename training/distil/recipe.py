"""The recipe and the configuration of a distillation. Loads no torch."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from pathlib import Path

from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from core.errors import InvalidRequest
from core.recipe_file import STRICT, Share, read_toml
from training.distil.sources import Source


@dataclass(frozen=True, slots=True, config=STRICT)
class DistilRecipe:
    #: The size of the stored images, uint8. Every view is made from these.
    image_px: PositiveInt = 64
    #: The size of the views.
    size_px: PositiveInt = 128
    #: The size in serving, for which the head is fitted. A little more than `size_px` is best,
    #: because objects look larger in enlarged crops (Touvron et al. 2019).
    serve_px: PositiveInt = 144
    batch: PositiveInt = 32
    learning_rate: PositiveFloat = 1e-3
    weight_decay: float = 0.01
    warmup_share: Share = 0.03
    #: The norm to which longer gradients are clipped.
    gradient_norm: PositiveFloat = 5.0
    #: Decay of the running average of the weights, by step.
    average: Share = 0.998
    #: Share of batches that are mosaics of whole images. The others are enlarged crops.
    mosaic: Share = 0.5
    #: Views: smallest share of the area, colour jitter, share of views sharpened or softened.
    crop: Share = 0.3
    colour: Share = 0.25
    sharpen: Share = 0.2
    #: Weights of the losses: to the teacher's embedding, and to its feature maps.
    embedding_weight: float = 2.0
    maps_weight: float = 1.0
    #: Compute in bfloat16 on the CPU too, which is faster on CPUs with AMX.
    bfloat16: bool = False
    seed: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class DistilConfig:
    """One distillation. Its budget is `minutes` of wall clock or a number of `steps`."""

    images: tuple[Source, ...]
    out: Path
    student: str = "starter"
    teacher: str = "torchvision/mobilenet_v2"
    teacher_weights: Path | None = None
    #: The cache folder of their download.
    teacher_cache: Path | None = None
    minutes: float | None = 30.0
    steps: int | None = None
    resume: bool = False
    threads: int = 0
    checkpoint_every_s: float = 120.0
    recipe: DistilRecipe = field(default_factory=DistilRecipe)

    def __post_init__(self) -> None:
        if not self.images:
            raise InvalidRequest("there are no images to distil on: name folders or .npz files")
        if (self.minutes is None) == (self.steps is None):
            raise InvalidRequest("the budget of a distillation is either minutes or steps")
        if (self.minutes or self.steps or 0) <= 0:
            raise InvalidRequest(
                f"minutes = {self.minutes}, steps = {self.steps}: a budget is above 0"
            )


def load_recipe(path: Path | None) -> DistilRecipe:
    """The recipe of a TOML file, or the built-in one. Raises InvalidRecipe with all problems."""
    return DistilRecipe() if path is None else read_toml(path, DistilRecipe)
