"""What a distillation makes smaller: the student's distance from the teacher, and from labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.distil_images import UNLABELLED
from training.distil_recipe import DistilRecipe
from training.torch_distil_student import Student


def losses(
    student: Student,
    probe: nn.Linear | None,
    x_BCHW: Tensor,
    wanted_BD: Tensor,
    labels_B: Tensor,
    recipe: DistilRecipe,
) -> dict[str, Tensor]:
    """Give the weighted losses of one batch by name; without labelled classes, one alone.

    To the teacher's embedding: smooth L1 and cosine. To its probe: Kullback-Leibler divergence at
    a temperature (Hinton et al. 2015), which every image has, labelled or not.
    """
    embedding_BD = student.embed(x_BCHW)
    given_BD = student.projection(embedding_BD).float()
    away = F.smooth_l1_loss(given_BD, wanted_BD)
    angle = 1 - F.cosine_similarity(given_BD, wanted_BD).mean()
    found = {"embedding": recipe.embedding_weight * (away + angle)}
    if probe is None or student.head is None:
        return found
    logits_BK = student.head(embedding_BD).float()
    t = recipe.temperature
    asked_BK = F.softmax(probe(wanted_BD).float() / t, 1)
    soft = F.kl_div(F.log_softmax(logits_BK / t, 1), asked_BK, reduction="batchmean") * t * t
    found["probe"] = recipe.probe_weight * soft
    if bool((labels_B != UNLABELLED).any()):
        found["label"] = recipe.label_weight * F.cross_entropy(
            logits_BK,
            labels_B,
            ignore_index=UNLABELLED,
            label_smoothing=recipe.label_smoothing,
        )
    return found


def total(found: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(found.values())).sum()
