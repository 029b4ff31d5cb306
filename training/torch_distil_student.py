"""The student of a distillation, as it starts: its backbone, a projection to the teacher, a head.

What stands between backbone and losses is solved before training, so that no first gradient tears
at what the backbone already sees (as `training.torch_tune` starts from a trained head).

N images, B batch, C channels, H/W pixels, D embedding.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import InvalidRequest
from training.distil_images import Images
from training.distil_recipe import DistilConfig
from training.torch_backbone import Backbone, starter_backbone
from training.torch_distil_teacher import Targets
from training.torch_distil_views import whole
from training.torch_slim import EMBEDDING_SIZE, cut, slim_features

STARTER, SLIM = "starter", "slim"
CUT_FROM = "torchvision/mobilenet_v2"
_CUT_ON = 384
_SOLVED_ON = 2_048
_RIDGE = 1e-2


class Student(nn.Module):  # type: ignore[misc]  # torch is typed as Any here
    def __init__(self, backbone: Backbone, teacher_size: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = nn.Linear(backbone.embedding_size, teacher_size)
        self.head = nn.Linear(backbone.embedding_size, num_classes) if num_classes else None

    def train(self, mode: bool = True) -> Student:
        """Unlike tuning on few examples, distilling lets BatchNorm learn its statistics."""
        super().train(mode)
        for module in self.backbone.modules():
            module.training = mode
        return self

    def embed(self, x_BCHW: Tensor) -> Tensor:
        """Embed pixels of 0 to 255, in float. Returns embedding_BD."""
        return self.backbone.forward_from(0, self.backbone.normalise(x_BCHW.permute(0, 2, 3, 1)))


def start(
    config: DistilConfig,
    images: Images,
    targets: Targets,
    teacher: Backbone,
    probe: nn.Linear | None,
) -> Student:
    """Build the student that `config` names. Raises InvalidRequest if there is none such."""
    recipe = config.recipe
    chosen_N = np.random.default_rng(recipe.seed).permutation(len(images))[:_SOLVED_ON]
    chosen_N.sort()
    pixels_NHWC = torch.from_numpy(images.pixels_NHWC[chosen_N])
    backbone = _backbone(config, teacher, pixels_NHWC)
    student = Student(backbone, targets.size, probe.out_features if probe else 0)
    student.eval()
    with torch.no_grad():
        parts = pixels_NHWC.split(recipe.batch)
        embedding_ND = torch.cat([student.embed(whole(part, recipe.size_px)) for part in parts])
        _solve(student.projection, embedding_ND, targets.rows(chosen_N))
        if probe is not None and student.head is not None:
            student.head.weight.copy_(probe.weight @ student.projection.weight)
            student.head.bias.copy_(probe(student.projection.bias))
    return student


def new_backbone(student: str) -> Backbone:
    """Build a student's backbone by name: `starter` as bundled, `slim` with random weights.

    Raises InvalidRequest if there is none of this name.
    """
    starter = starter_backbone()
    if student == STARTER:
        return starter
    if student != SLIM:
        raise InvalidRequest(f"there is no student {student!r}: name {STARTER} or {SLIM}")
    features, pool = slim_features(), nn.AdaptiveAvgPool2d(1)
    return Backbone(
        SLIM,
        {"features": features, "pool": pool},
        [*features[:-1], nn.Sequential(features[-1], pool, nn.Flatten(1))],
        pixels=starter.pixels,
        mean=starter.mean,
        std=starter.std,
        embedding_size=EMBEDDING_SIZE,
    )


def _backbone(config: DistilConfig, teacher: Backbone, pixels_NHWC: Tensor) -> Backbone:
    made = new_backbone(config.student)
    if config.student == SLIM:
        if config.teacher != CUT_FROM:
            raise InvalidRequest(f"{SLIM} is cut from {CUT_FROM}, not {config.teacher}: name that")
        sample_NHWC = pixels_NHWC[:: max(1, len(pixels_NHWC) // _CUT_ON)]
        x_NCHW = whole(sample_NHWC, config.recipe.size_px)
        x_NCHW = made.normalise(x_NCHW.permute(0, 2, 3, 1))
        cut(teacher.net.features, made.features, x_NCHW)
    return made


def _solve(linear: nn.Linear, given_ND: Tensor, wanted_ND: Tensor) -> None:
    """Set a linear layer to the ridge regression of what is wanted on what is given."""
    mean_D = given_ND.mean(0)
    centred_ND = (given_ND - mean_D).double()
    gram_DD = centred_ND.T @ centred_ND
    gram_DD.diagonal().add_(_RIDGE * gram_DD.diagonal().mean() + 1e-9)
    mean_wanted_D = wanted_ND.mean(0)
    solved_DD = torch.linalg.solve(gram_DD, centred_ND.T @ (wanted_ND - mean_wanted_D).double())
    linear.weight.copy_(solved_DD.T)
    linear.bias.copy_(mean_wanted_D - mean_D @ solved_DD.float())
