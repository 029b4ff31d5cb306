"""The student of a distillation, as it starts: its backbone, and how it answers to the teacher.

What stands between the two is solved before training, so that no first gradient tears at what the
backbone already sees (as `training.blocks.finetune` starts from a trained head).

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
from training.distil.cut import cut
from training.distil.images import Images
from training.distil.recipe import DistilConfig
from training.distil.teacher import Seen, Seer
from training.distil.views import whole

STARTER, SLIM = "starter", "slim"
CUT_FROM = "torchvision/mobilenet_v2"
_CUT_ON = 384
_SOLVED_ON = 2_048
_RIDGE = 1e-2
#: A channel that the teacher hardly moves must not weigh a thousandfold.
LEAST_VARIANCE = 1e-4
# After these of MobileNetV2's features: every change of size, and the last two blocks.
_TAPPED = (3, 6, 10, 13, 16, 17)


class Student(nn.Module):  # type: ignore[misc]  # torch is typed as Any here
    """A backbone, and a projection of its embedding to the teacher's.

    One that was cut from its teacher needs none: it answers to the channels `kept_D` of it, and to
    the teacher's feature maps. `scale_...` are variances of what the teacher gives.
    """

    def __init__(self, backbone: Backbone, teacher_size: int, *, is_cut: bool) -> None:
        super().__init__()
        self.backbone = backbone
        size = backbone.embedding_size
        self.is_cut = is_cut
        self.projection = nn.Identity() if is_cut else nn.Linear(size, teacher_size)
        kept = torch.zeros(size, dtype=torch.int64) if is_cut else torch.arange(teacher_size)
        self.register_buffer("kept_D", kept)
        self.register_buffer("scale_D", torch.ones(len(kept)))
        self.look = Seer(backbone, tapped(backbone.features) if is_cut else ())

    def train(self, mode: bool = True) -> Student:
        """Unlike tuning on few examples, distilling lets BatchNorm learn its statistics."""
        super().train(mode)
        for module in self.backbone.modules():
            module.training = mode
        return self

    def wanted(self, seen: Seen) -> Seen:
        """Of what the teacher saw, what this student is to see."""
        if not self.is_cut:
            return seen
        *maps, last = seen.maps
        return Seen(seen.embedding_BD[:, self.kept_D], [*maps, last[:, self.kept_D]])


def tapped(features: Sequence[nn.Module]) -> list[nn.Module]:
    # The end of the last convolution: a backbone in blocks may call its three parts one by one.
    return [*(features[at] for at in _TAPPED), features[-1][-1]]


def start(config: DistilConfig, images: Images, teacher: Backbone, look: Seer) -> Student:
    """Build the student that `config` names; `look` sees with the teacher.

    Raises InvalidRequest if there is no such student, or it is not cut from this teacher.
    """
    chosen_N = np.random.default_rng(config.recipe.seed).permutation(len(images))[:_SOLVED_ON]
    chosen_N.sort()
    x_NCHW = whole(torch.from_numpy(images.pixels_NHWC[chosen_N]), config.recipe.size_px)
    backbone = new_backbone(config.student)
    student = Student(backbone, teacher.embedding_size, is_cut=config.student == SLIM)
    with torch.no_grad():
        if student.is_cut:
            _cut(config, student, teacher, x_NCHW[:: max(1, len(x_NCHW) // _CUT_ON)])
        parts = x_NCHW.split(config.recipe.batch)
        wanted_ND = torch.cat([student.wanted(look(part)).embedding_BD for part in parts])
        student.scale_D.copy_(wanted_ND.var(0).clamp(min=LEAST_VARIANCE))
        if not student.is_cut:
            student.eval()
            embedding_ND = torch.cat([student.look(part).embedding_BD for part in parts])
            _solve(student.projection, embedding_ND, wanted_ND)
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


def _cut(config: DistilConfig, student: Student, teacher: Backbone, x_NCHW: Tensor) -> None:
    if config.teacher != CUT_FROM:
        raise InvalidRequest(f"{SLIM} is cut from {CUT_FROM}, not {config.teacher}: name that")
    x_NCHW = teacher.normalise(x_NCHW.permute(0, 2, 3, 1))
    kept = cut(teacher.net.features, student.backbone.features, x_NCHW)
    student.kept_D.copy_(torch.tensor(kept))


def as_bundled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name the tensors as the bundle does, and leave out what only training needs."""
    named = {name.removeprefix("backbone."): value for name, value in state.items()}
    return {k: v.detach().cpu().contiguous() for k, v in named.items() if k.startswith("features.")}


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
