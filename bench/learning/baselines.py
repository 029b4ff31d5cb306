"""The baselines of `bench.learning`: scikit-learn's logistic regression, and a full fine-tune.

The fine-tune is written as in torch tutorials. Both get the same photos as the tiers. The fine-tune
gets the same number of epochs or CPU seconds, whichever ends first.

N rows, D embedding, K classes; B batch, H/W pixels, C channels.
"""

from __future__ import annotations

import copy
import math
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_BATCH = 32
_LR = 1e-3


@dataclass(frozen=True, slots=True)
class Regression:
    """Accuracies on the validation rows."""

    # With the C and the scaling chosen by cross-validation of the training rows.
    tuned: float
    # With those that are best on the validation rows, which is an upper bound.
    oracle: float
    # CPU time to choose and to fit.
    seconds: float


def logistic_regression(
    x_ND: NDArray[np.float32],
    y_N: NDArray[np.intp],
    val_x_ND: NDArray[np.float32],
    val_y_N: NDArray[np.intp],
) -> Regression:
    """Evaluate every C, with and without standardised features."""
    folds = StratifiedKFold(min(3, int(np.bincount(y_N).min())), shuffle=True, random_state=0)
    scores: list[tuple[float, float]] = []
    seconds = 0.0
    for c in _C_GRID:
        for steps in ((), (StandardScaler(),)):
            model = make_pipeline(*steps, LogisticRegression(C=c, max_iter=100, tol=1e-3))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                began = time.process_time()
                cross_validated = float(cross_val_score(model, x_ND, y_N, cv=folds).mean())
                seconds += time.process_time() - began
                began = time.process_time()
                model.fit(x_ND, y_N)
                fitted_s = time.process_time() - began
            scores.append((cross_validated, float(model.score(val_x_ND, val_y_N))))
    oracle = max(accuracy for _, accuracy in scores)
    return Regression(max(scores)[1], oracle, seconds + fitted_s)


def full_fine_tune(
    backbone: Any,
    pixels_NHWC: NDArray[np.uint8],
    y_N: NDArray[np.intp],
    num_classes: int,
    val_NHWC: NDArray[np.uint8],
    *,
    max_epochs: int,
    max_seconds: float,
    seed: int,
) -> NDArray[np.float32]:
    """Fine-tune all weights and a new head at one learning rate. Returns logits_NK on val.

    AdamW with a cosine schedule, random resized crops and flips, BatchNorm in training mode.
    The last weights are used.
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    net = nn.Sequential(copy.deepcopy(backbone), nn.Linear(backbone.embedding_size, num_classes))
    optimiser = torch.optim.AdamW(net.parameters(), lr=_LR, weight_decay=0.01)
    num_steps = max_epochs * math.ceil(len(y_N) / _BATCH)
    rng = np.random.default_rng(seed)
    began = time.process_time()
    for step in range(num_steps):
        if step % math.ceil(len(y_N) / _BATCH) == 0:
            order_N = rng.permutation(len(y_N))
            at = 0
        done = max(step / num_steps, (time.process_time() - began) / max_seconds)
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = _LR * (1 + math.cos(math.pi * done)) / 2
        _set_training(net)
        rows_B = np.sort(order_N[at : at + _BATCH])
        at += _BATCH
        if len(rows_B) < 2:
            continue  # BatchNorm needs two
        views_BHWC = torch.stack([_view(pixels_NHWC[i], rng) for i in rows_B])
        loss = nn.functional.cross_entropy(net(views_BHWC), torch.from_numpy(y_N[rows_B]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    net.eval()
    with torch.inference_mode():
        batches = [
            net(torch.from_numpy(np.array(val_NHWC[i : i + 64]))).numpy()
            for i in range(0, len(val_NHWC), 64)
        ]
    return np.concatenate(batches)


def _set_training(net: Any) -> None:
    """Set all modules to training mode, where `Backbone.train` leaves out BatchNorm."""
    for module in net.modules():
        module.training = True


def _view(pixels_HWC: NDArray[np.uint8], rng: np.random.Generator) -> Any:
    """Return a random resized crop (uint8) of 35 to 100 % of the area, flipped half of the time."""
    import torch

    size_px = len(pixels_HWC)
    side = round(size_px * math.sqrt(rng.uniform(0.35, 1)))
    top, left = rng.integers(0, size_px - side + 1, 2)
    crop_HWC = pixels_HWC[top : top + side, left : left + side]
    if rng.random() < 0.5:
        crop_HWC = crop_HWC[:, ::-1]
    crop_1CHW = torch.from_numpy(crop_HWC.copy()).permute(2, 0, 1)[None].float()
    resized_1CHW = torch.nn.functional.interpolate(
        crop_1CHW, size=(size_px, size_px), mode="bilinear", antialias=True
    )
    return resized_1CHW[0].round().clamp(0, 255).byte().permute(1, 2, 0)
