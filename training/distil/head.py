"""The student's own head: a linear classifier of its embeddings, if the images have labels.

N images, B batch, D embedding, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from core.models import backbones
from training.backbones.backbone import Backbone
from training.backbones.export import export_backbone
from training.distil.images import Images
from training.distil.sources import UNLABELLED

_BATCH = 16
_EPOCHS = 20
_LEARN_BATCH = 1_024
_RATE = 2e-3
_DECAY = 0.1
_MIN_DEVIATION = 1e-3


def fit_head(
    backbone: Backbone,
    images: Images,
    size_px: int,
    seed: int,
    threads: int,
    progress: Callable[[float], bool],
) -> dict[str, Tensor] | None:
    """Return `head.weight` [K, D] and `head.bias` [K], or {} if no image has a label.

    `progress` gets the fraction done, and returns whether to go on. Returns None if it is stopped.
    """
    rows_N = np.flatnonzero(images.labels_N != UNLABELLED)
    if not len(rows_N):
        return {}
    embedding_ND = _embed(backbone, images, rows_N, size_px, threads, progress)
    if embedding_ND is None:
        return None
    mean_D, deviation_D = embedding_ND.mean(0), embedding_ND.std(0).clamp(min=_MIN_DEVIATION)
    fitted = _fit(
        (embedding_ND - mean_D) / deviation_D,
        torch.from_numpy(images.labels_N[rows_N]),
        len(images.classes),
        seed,
    )
    weight_KD = fitted.weight / deviation_D
    return {"head.weight": weight_KD, "head.bias": fitted.bias - weight_KD @ mean_D}


def _embed(
    backbone: Backbone,
    images: Images,
    rows_N: NDArray[np.intp],
    size_px: int,
    threads: int,
    progress: Callable[[float], bool],
) -> Tensor | None:
    """Embed whole images with the exported ONNX: several times as fast on a CPU as torch."""
    runtime = backbones.Runtime("cpu", threads)
    exported = backbones.Backbone(export_backbone(backbone, size_px), "student", runtime)
    embeddings = []
    for start in range(0, len(rows_N), _BATCH):
        if not progress(start / len(rows_N)):
            return None
        batch = images.pixels_NHWC[rows_N[start : start + _BATCH]]
        embeddings.append(exported.embed(np.stack([_resize(image, size_px) for image in batch])))
    return torch.from_numpy(np.concatenate(embeddings))


def _resize(pixels_HWC: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    if len(pixels_HWC) == size_px:
        return pixels_HWC
    resized = Image.fromarray(pixels_HWC).resize((size_px, size_px), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def _fit(x_ND: Tensor, y_N: Tensor, num_classes: int, seed: int) -> nn.Linear:
    head = nn.Linear(x_ND.shape[1], num_classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    steps = _EPOCHS * -(-len(x_ND) // _LEARN_BATCH)
    optimizer = torch.optim.AdamW(head.parameters(), _RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(_EPOCHS):
        for rows_B in torch.randperm(len(x_ND), generator=draw).split(_LEARN_BATCH):
            loss = F.cross_entropy(head(x_ND[rows_B]), y_N[rows_B])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return head.requires_grad_(False)
