"""Extracts the features of a view: its embedding, and the feature maps of chosen layers.

Teacher and student get the same view (Beyer et al. 2022, "Knowledge distillation: a good teacher is
patient and consistent"). So any image can be used, also a mosaic.

B batch, C channels, H/W pixels or positions, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.backbones.backbone import Backbone


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """`maps` are [B, C, H, W], in the order of the tapped layers."""

    embedding_BD: Tensor
    maps: list[Tensor]


class FeatureExtractor:
    """Embeds pixels of 0 to 255, in float, and keeps the outputs of the layers `taps`.

    With `size_px`, views of another size are resized first.
    """

    def __init__(
        self, backbone: Backbone, taps: Sequence[nn.Module] = (), size_px: int | None = None
    ) -> None:
        self._backbone = backbone
        self._taps = taps
        self._size_px = size_px

    def __call__(self, x_BCHW: Tensor) -> Features:
        if self._size_px is not None and x_BCHW.shape[-1] != self._size_px:
            size = (self._size_px, self._size_px)
            x_BCHW = F.interpolate(x_BCHW, size, mode="bilinear", antialias=True)
        x_BHWC = x_BCHW.permute(0, 2, 3, 1)  # as `normalise` takes pixels, which permutes them back
        x_BCHW = self._backbone.normalise(x_BHWC).contiguous(memory_format=torch.channels_last)
        maps: list[Tensor] = []

        def keep(_: nn.Module, __: Any, output: Tensor) -> None:
            maps.append(output)

        # For this view only, so that copies and exports of the backbone have no hooks.
        hooks = [module.register_forward_hook(keep) for module in self._taps]
        try:
            embedding_BD = self._backbone.forward_from(0, x_BCHW)
        finally:
            for hook in hooks:
                hook.remove()
        return Features(embedding_BD.float(), [x.float() for x in maps])
