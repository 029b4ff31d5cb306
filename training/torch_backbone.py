"""The starter's backbone as a torch module: pixels to embedding, normalisation inside.

Its state-dict keys (`features.*`) are those of the bundled weights and of the initializers in every
exported `backbone.onnx`, so weights move between the three by name. Holds no head; trains nothing.

Axes: B batch, H/W pixels, C channels, D embedding (576).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core import starter
from training.torch_vision import torchvision


class StarterBackbone(nn.Module):  # type: ignore[misc]  # torch is typed as Any here
    """MobileNetV3-small without its classifier; `features` are its 13 blocks, in order.

    BatchNorm stays in inference mode also after `train()`: on few examples, statistics of small
    batches do more harm than good, and the exported graph must compute what was trained.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.features = torchvision.models.mobilenet_v3_small(weights=None).features
        self.pool = nn.AdaptiveAvgPool2d(1)
        # In units of pixels; not persistent, so that they are constants of the exported graph.
        mean_C11, std_C11 = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
        self.register_buffer("offset_C11", 255 * mean_C11, persistent=False)
        self.register_buffer("scale_C11", 1 / (255 * std_C11), persistent=False)
        self.eval()

    def forward(self, pixels_BHWC: Tensor) -> Tensor:
        """Embed uint8 RGB pixels, 0 to 255. Returns embedding_BD, float32."""
        return self.pool(self.features(self.normalise(pixels_BHWC))).flatten(1)

    def normalise(self, pixels_BHWC: Tensor) -> Tensor:
        """Give what the first block takes: x_BCHW, (pixels / 255 - mean) / std."""
        x_BCHW = pixels_BHWC.permute(0, 3, 1, 2).to(self.scale_C11.dtype)
        return (x_BCHW - self.offset_C11) * self.scale_C11

    def train(self, mode: bool = True) -> StarterBackbone:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.training = False
        return self


def starter_backbone(weights: Mapping[str, NDArray[Any]] | None = None) -> StarterBackbone:
    """Build the backbone with given weights (by state-dict key), or with the bundled ones.

    Returned in inference mode.
    """
    module = StarterBackbone(**starter.card()["normalisation"])
    load_weights(module, starter.backbone_weights() if weights is None else weights)
    return module


def load_weights(module: StarterBackbone, weights: Mapping[str, NDArray[Any]]) -> None:
    """Copy weights of any float type into the module, ignoring keys outside `features.*`."""
    # torch fills in BatchNorm's counters, which inference never reads and the bundle leaves out.
    module.load_state_dict(
        {
            name: torch.tensor(value, dtype=torch.float32)
            for name, value in weights.items()
            if name.startswith("features.")
        }
    )
