"""What a distillation makes smaller: how far the student is from seeing as the teacher does."""

from __future__ import annotations

import torch
from torch import Tensor

from training.distil.recipe import DistilRecipe
from training.distil.student import LEAST_VARIANCE, Student
from training.distil.teacher import Seen


def losses(student: Student, seen: Seen, wanted: Seen, recipe: DistilRecipe) -> dict[str, Tensor]:
    """Give the weighted losses of one batch by name.

    Squared errors in units of the teacher's own variance, so that 1 is to have learnt only its
    mean: of the embedding, and, cut from the teacher, of its feature maps by channel; of those the
    last, which the embedding is the mean of, counts as much as all the others.
    """
    given_BD = student.projection(seen.embedding_BD)
    away = ((given_BD - wanted.embedding_BD).square() / student.scale_D).mean()
    found = {"embedding": recipe.embedding_weight * away}
    if wanted.maps:
        *early, last = [_away(a, b) for a, b in zip(seen.maps, wanted.maps, strict=True)]
        found["maps"] = recipe.maps_weight * (torch.stack(early).mean() + last)
    return found


def total(found: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(found.values())).sum()


def _away(is_BCHW: Tensor, wanted_BCHW: Tensor) -> Tensor:
    variance_C11 = wanted_BCHW.var((0, 2, 3), keepdim=True).clamp(min=LEAST_VARIANCE)
    return ((is_BCHW - wanted_BCHW).square() / variance_C11).mean()
