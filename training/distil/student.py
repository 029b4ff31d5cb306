"""The student of a distillation at its start: its backbone, and its projection to the teacher.

The projection is solved before training. So the first gradients do not destroy features that the
backbone already has, just as `training.blocks.finetune` starts from a trained head.

N images, B batch, C channels, H/W pixels, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import InvalidRequest
from training.backbones.backbone import Backbone, starter_backbone
from training.backbones.starter_network import EMBEDDING_SIZE, starter_features
from training.distil.images import Images
from training.distil.prune import prune
from training.distil.recipe import DistilConfig
from training.distil.teacher import FeatureExtractor, Features
from training.distil.views import uncropped

STARTER, SLIM = "starter", "slim"
PRUNED_FROM = "torchvision/mobilenet_v2"
_NUM_IMAGES_TO_PRUNE = 384
_NUM_IMAGES_TO_SOLVE = 2_048
_RIDGE = 1e-2
#: A channel that hardly varies in the teacher must not weigh a thousandfold.
MIN_VARIANCE = 1e-4
# Numbers of MobileNetV2's features: the last block of each stage, from 24 channels on.
_TAPPED = (3, 6, 10, 13, 16, 17)


class Student(nn.Module):  # type: ignore[misc]  # torch is typed as Any here
    """A backbone, and a projection of its embedding to the teacher's.

    A student that was pruned from its teacher has no projection. It learns the channels `kept_D`
    of the teacher's embedding, and the teacher's feature maps. `scale_D` is the variance of the
    embedding that it learns.
    """

    def __init__(self, backbone: Backbone, teacher_size: int, *, is_pruned: bool) -> None:
        super().__init__()
        self.backbone = backbone
        size = backbone.embedding_size
        self.is_pruned = is_pruned
        self.projection = nn.Identity() if is_pruned else nn.Linear(size, teacher_size)
        kept = torch.zeros(size, dtype=torch.int64) if is_pruned else torch.arange(teacher_size)
        self.register_buffer("kept_D", kept)
        self.register_buffer("scale_D", torch.ones(len(kept)))
        self.extract = FeatureExtractor(
            backbone, tap_layers(backbone.features) if is_pruned else ()
        )

    def train(self, mode: bool = True) -> Student:
        """Unlike fine-tuning on few examples, distillation updates the statistics of BatchNorm."""
        super().train(mode)
        for module in self.backbone.modules():
            module.training = mode
        return self

    def target(self, teachers: Features) -> Features:
        """Return the part of the teacher's features that this student learns."""
        if not self.is_pruned:
            return teachers
        *maps, last = teachers.maps
        return Features(teachers.embedding_BD[:, self.kept_D], [*maps, last[:, self.kept_D]])


def tap_layers(features: Sequence[nn.Module]) -> list[nn.Module]:
    # The last convolution is tapped at its end, because blocks may call its three steps one by one.
    return [*(features[at] for at in _TAPPED), features[-1][-1]]


def start(
    config: DistilConfig, images: Images, teacher: Backbone, extract: FeatureExtractor
) -> Student:
    """Build the student that `config` names. `extract` gives the teacher's features.

    Raises InvalidRequest if there is no such student, or it cannot be pruned from this teacher.
    """
    order_N = np.random.default_rng(config.recipe.seed).permutation(len(images))
    rows_N = np.sort(order_N[:_NUM_IMAGES_TO_SOLVE])
    x_NCHW = uncropped(torch.from_numpy(images.pixels_NHWC[rows_N]), config.recipe.size_px)
    backbone = new_backbone(config.student)
    student = Student(backbone, teacher.embedding_size, is_pruned=config.student == SLIM)
    with torch.no_grad():
        if student.is_pruned:
            every = max(1, len(x_NCHW) // _NUM_IMAGES_TO_PRUNE)
            _prune(config, student, teacher, x_NCHW[::every])
        batches = x_NCHW.split(config.recipe.batch)
        target_ND = torch.cat([student.target(extract(x)).embedding_BD for x in batches])
        student.scale_D.copy_(target_ND.var(0).clamp(min=MIN_VARIANCE))
        if not student.is_pruned:
            student.eval()
            embedding_ND = torch.cat([student.extract(x).embedding_BD for x in batches])
            _solve(student.projection, embedding_ND, target_ND)
    return student


def new_backbone(student: str) -> Backbone:
    """Build a student's backbone by name: `starter` as bundled, `slim` with random weights.

    Raises InvalidRequest if there is no student of this name.
    """
    starter = starter_backbone()
    if student == STARTER:
        return starter
    if student != SLIM:
        raise InvalidRequest(f"there is no student {student!r}: name {STARTER} or {SLIM}")
    features, pool = starter_features(), nn.AdaptiveAvgPool2d(1)
    return Backbone(
        SLIM,
        {"features": features, "pool": pool},
        [*features[:-1], nn.Sequential(features[-1], pool, nn.Flatten(1))],
        pixels=starter.pixels,
        mean=starter.mean,
        std=starter.std,
        embedding_size=EMBEDDING_SIZE,
    )


def _prune(config: DistilConfig, student: Student, teacher: Backbone, x_NCHW: Tensor) -> None:
    if config.teacher != PRUNED_FROM:
        raise InvalidRequest(
            f"{SLIM} is pruned from {PRUNED_FROM}, not {config.teacher}: name that teacher"
        )
    x_NCHW = teacher.normalise(x_NCHW.permute(0, 2, 3, 1))
    kept = prune(teacher.net.features, student.backbone.features, x_NCHW)
    student.kept_D.copy_(torch.tensor(kept))


def as_bundled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name the tensors as in the bundle, and leave out those for training."""
    named = {name.removeprefix("backbone."): value for name, value in state.items()}
    return {k: v.detach().cpu().contiguous() for k, v in named.items() if k.startswith("features.")}


def _solve(linear: nn.Linear, input_ND: Tensor, target_ND: Tensor) -> None:
    """Set a linear layer to the ridge regression of the target on the input."""
    mean_D = input_ND.mean(0)
    centred_ND = (input_ND - mean_D).double()
    gram_DD = centred_ND.T @ centred_ND
    gram_DD.diagonal().add_(_RIDGE * gram_DD.diagonal().mean() + 1e-9)
    mean_target_D = target_ND.mean(0)
    solved_DD = torch.linalg.solve(gram_DD, centred_ND.T @ (target_ND - mean_target_D).double())
    linear.weight.copy_(solved_DD.T)
    linear.bias.copy_(mean_target_D - mean_D @ solved_DD.float())
