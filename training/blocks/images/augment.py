"""Augmentation of uint8 pixels, from `none` to `strong`, and a contact sheet that previews it.

Every variant is a function of (seed, view, row) alone. So a resumed run can make it again, also if
its cached activations are gone.

B batch, H/W pixels, C channels, K classes; `_...` stands for the axes of any activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from core.system.files import writing_whole
from training.backbones.torchvision_import import transforms
from training.blocks.device import mix_seed
from training.recipe import Strength

# The smallest crop, as a share of the area. The jitter of brightness, contrast and saturation; hue
# costs as much time as all the rest and separates many classes. The magnitude of RandAugment, of 30
# (Cubuk et al. 2020).
_CROPS: dict[Strength, float] = {"light": 0.6, "medium": 0.35, "strong": 0.2}
_COLOURS: dict[Strength, float] = {"medium": 0.2, "strong": 0.3}
_RAND_AUGMENT: dict[Strength, int] = {"strong": 7}
# The parameter of mixup's Beta distribution. Zhang et al. (2018) use 0.1 to 0.4.
MIXUP_ALPHA: dict[Strength, float] = {"medium": 0.2, "strong": 0.4}

_GAP_PX = 4


class Augmentation:
    def __init__(self, strength: Strength, *, flip: bool, size_px: int, seed: int) -> None:
        self.strength = strength
        self._seed = seed
        steps: list[Any] = []
        if strength in _CROPS:
            steps.append(
                transforms.RandomResizedCrop(size_px, scale=(_CROPS[strength], 1.0), antialias=True)
            )
            if flip:
                steps.append(transforms.RandomHorizontalFlip())
        if strength in _RAND_AUGMENT:
            steps.append(transforms.RandAugment(2, _RAND_AUGMENT[strength]))
        if strength in _COLOURS:
            c = _COLOURS[strength]
            steps.append(transforms.ColorJitter(c, c, c))
        self._transform = transforms.Compose(steps) if steps else None

    def __call__(self, pixels_BHWC: NDArray[np.uint8], view: int, rows_B: Sequence[int]) -> Tensor:
        """Return the view number `view` of each row, uint8 [B, H, W, C]."""
        if self._transform is None:
            return torch.from_numpy(np.array(pixels_BHWC))
        varied = []
        with torch.random.fork_rng(devices=[]):  # the transforms use the global generator
            for pixels_HWC, row in zip(pixels_BHWC, rows_B, strict=True):
                torch.manual_seed(mix_seed(self._seed, view, int(row)))
                pixels_CHW = torch.from_numpy(pixels_HWC.copy()).permute(2, 0, 1)
                varied.append(self._transform(pixels_CHW).permute(1, 2, 0))
        return torch.stack(varied)


def mixup(
    activation: Tensor, targets_BK: Tensor, alpha: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Blend each row with another, and their targets in the same way (Zhang et al. 2018).

    On activations this is manifold mixup (Verma et al. 2019). It costs nothing and, unlike a crop,
    can differ in every epoch although the activations are cached.
    """
    share = float(rng.beta(alpha, alpha))
    other_B = torch.from_numpy(rng.permutation(len(targets_BK))).to(activation.device)
    mixed = torch.lerp(activation[other_B], activation, share)
    return mixed, torch.lerp(targets_BK[other_B], targets_BK, share)


def save_preview(
    pixels_BHWC: NDArray[np.uint8], augmentation: Augmentation, path: Path, *, num_views: int = 6
) -> None:
    """Save a contact sheet as PNG: in each row an unaugmented photo, then `num_views` views of it.

    They are the first views of the first rows in a run of the same recipe and seed.
    """
    rows = range(len(pixels_BHWC))
    columns = [pixels_BHWC] + [augmentation(pixels_BHWC, v, rows).numpy() for v in range(num_views)]
    sheet_BVHWC = np.stack(columns, axis=1)
    gaps = [(0, 0), (0, 0), (0, _GAP_PX), (0, _GAP_PX), (0, 0)]
    padded = np.pad(sheet_BVHWC, gaps, constant_values=255)
    num_rows, num_columns, height, width, _ = padded.shape
    sheet_HWC = padded.swapaxes(1, 2).reshape(num_rows * height, num_columns * width, 3)
    with writing_whole(path, is_private=False) as unfinished:
        Image.fromarray(sheet_HWC[:-_GAP_PX, :-_GAP_PX]).save(unfinished, "PNG")
