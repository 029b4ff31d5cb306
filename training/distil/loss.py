"""The losses of a distillation: the distance of the student's features to the teacher's."""

from __future__ import annotations

import torch
from torch import Tensor

from training.distil.recipe import DistilRecipe
from training.distil.student import MIN_VARIANCE, Student
from training.distil.teacher import Features


def losses(
    student: Student, features: Features, target: Features, recipe: DistilRecipe
) -> dict[str, Tensor]:
    """Return the weighted losses of one batch by name.

    Each term is a squared error divided by the teacher's variance, so 1.0 means "predicts the
    mean". The terms are the embedding and, if the student was pruned from the teacher, each feature
    map by channel. The last map weighs as much as all the others, because the embedding is its
    mean.
    """
    projected_BD = student.projection(features.embedding_BD)
    error = ((projected_BD - target.embedding_BD).square() / student.scale_D).mean()
    weighted = {"embedding": recipe.embedding_weight * error}
    if target.maps:
        *early, last = [_map_error(a, b) for a, b in zip(features.maps, target.maps, strict=True)]
        weighted["maps"] = recipe.maps_weight * (torch.stack(early).mean() + last)
    return weighted


def total(weighted: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(weighted.values())).sum()


def _map_error(map_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    variance_C11 = target_BCHW.var((0, 2, 3), keepdim=True).clamp(min=MIN_VARIANCE)
    return ((map_BCHW - target_BCHW).square() / variance_C11).mean()
