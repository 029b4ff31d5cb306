"""Backbones with random weights, and their embeddings in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.backbones.backbone import Backbone, build


def random_backbone(name: str) -> Backbone:
    if name.startswith("timm/"):
        pytest.importorskip("timm", reason="the timm extra is not installed")
    module = build(name, pretrained=False)
    # New norms and layer scales (1e-6) do nothing. Change them, so that a lost one is noticed.
    for tensor in module.state_dict().values():
        if tensor.is_floating_point() and tensor.numel() > 1 and tensor.min() == tensor.max():
            tensor.mul_(torch.empty_like(tensor).uniform_(0.8, 1.2))
            tensor.add_(torch.empty_like(tensor).uniform_(0, 0.05))
    return module


def in_torch(module: Backbone, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return module(torch.from_numpy(pixels_BHWC)).numpy()
