"""A backbone of four blocks with random weights, and photos of three textures."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from core.inputs.pixels.decoding import PixelSpec
from training.backbones.backbone import Backbone
from training.head.design_matrix import prepare
from training.head.head import Head
from training.head.regression import fit as fit_coefficients

SIZE_PX = 16
CLASSES = ("stripes", "bars", "dots")


def tiny_backbone() -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        net = nn.Sequential(
            *(_block(*channels) for channels in ((3, 8), (8, 16), (16, 16))),
            nn.Sequential(_block(16, 24), nn.AdaptiveAvgPool2d(1), nn.Flatten(1)),
        )
        for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
            nn.init.uniform_(norm.running_mean, -0.2, 0.2)
            nn.init.uniform_(norm.running_var, 0.2, 0.6)
    return Backbone(
        "tiny",
        {"net": net},
        list(net),
        pixels=PixelSpec(SIZE_PX),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        embedding_size=24,
    )


def _block(num_in: int, num_out: int) -> nn.Sequential:
    stride = 2 if num_in < num_out else 1
    conv = nn.Conv2d(num_in, num_out, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(num_out), nn.ReLU(), nn.Dropout(0.1))


def deep_backbone(uneven: int | None = None) -> Backbone:
    """Twelve convolutions. The output of the one before `uneven` has a channel that dwarfs the
    others, and the next one makes it small again. In float32 this changes nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        convs = [nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1) for i in range(12)]
        for conv in convs:
            nn.init.dirac_(conv.weight)
            conv.weight.data += 0.1 * torch.randn_like(conv.weight)
    if uneven is not None:
        before, after = convs[uneven - 1], convs[uneven]
        before.weight.data[0] *= 1000
        assert before.bias is not None
        before.bias.data[0] *= 1000
        after.weight.data[:, 0] /= 1000
    net = nn.Sequential(
        *(nn.Sequential(conv, nn.ReLU()) for conv in convs),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1)),
    )
    return Backbone(
        "deep",
        {"net": net},
        list(net),
        pixels=PixelSpec(SIZE_PX),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        embedding_size=8,
    )


def photos(num_rows: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """Returns pixels_NHWC and y_N: faint textures under noise, at random phase."""
    rng = np.random.default_rng(seed)
    y_N = np.arange(num_rows) % len(CLASSES)
    row, column = np.mgrid[:SIZE_PX, :SIZE_PX]
    waves = []
    for y, phase in zip(y_N, rng.integers(4, size=num_rows), strict=True):
        across, down = (column + phase) // 2 % 2, (row + phase) // 2 % 2
        waves.append((across, down, across ^ down)[y])
    signal_NHWC = np.stack(waves)[..., None] * 80.0 + rng.uniform(60, 140, (num_rows, 1, 1, 3))
    noisy = signal_NHWC + rng.normal(0, 30, (num_rows, SIZE_PX, SIZE_PX, 3))
    return noisy.clip(0, 255).astype(np.uint8), y_N.astype(np.intp)


def probe(
    backbone: Backbone, pixels_NHWC: NDArray[np.uint8], y_N: NDArray[np.intp], l2: float = 0.1
) -> Head:
    """The head tier's fit on these rows."""
    with torch.no_grad():
        design = prepare(backbone(torch.from_numpy(pixels_NHWC)).numpy())
    return design.head(fit_coefficients(design, y_N, len(CLASSES), l2=l2), CLASSES)
