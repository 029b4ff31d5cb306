"""Views of stored images: crops or mosaics, flipped, with other colours and sharpness.

A given generator draws them, so that a view can be made again. Stored images are small, and an
enlarged crop is more blurred than a photo. A mosaic of uncropped images is sharp. It need not look
like a photo, because teacher and student see the same view.

B batch, C channels, H/W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.distil.recipe import DistilRecipe

_MAX_STRETCH = 4 / 3
_FLIP = 0.5
_MAX_SHARPENED = 2.0


def views(
    pixels_NHWC: NDArray[np.uint8],
    rows_B: NDArray[np.intp],
    recipe: DistilRecipe,
    draw: torch.Generator,
) -> Tensor:
    """Return a view of each row, or as many mosaics: float 0 to 255, [B, C, size_px, size_px]."""
    if float(torch.rand(1, generator=draw)) < recipe.mosaic:
        x_BCHW = _mosaic(pixels_NHWC, len(rows_B), recipe.size_px, draw)
    else:
        x_BCHW = torch.from_numpy(pixels_NHWC[rows_B]).permute(0, 3, 1, 2).float()
        x_BCHW = _crop(x_BCHW, recipe.size_px, recipe.crop, draw)
    if recipe.sharpen:
        x_BCHW = _sharpen(x_BCHW, recipe.sharpen, draw)
    if recipe.colour:
        x_BCHW = _recolour(x_BCHW, recipe.colour, draw)
    return x_BCHW.clamp_(0, 255)


def uncropped(pixels_BHWC: Tensor, size_px: int) -> Tensor:
    """Return each whole image as in serving, float 0 to 255, [B, C, size_px, size_px]."""
    x_BCHW = pixels_BHWC.permute(0, 3, 1, 2).float()
    if x_BCHW.shape[-1] == size_px:
        return x_BCHW
    return F.interpolate(x_BCHW, (size_px, size_px), mode="bilinear", antialias=True)


def _mosaic(
    pixels_NHWC: NDArray[np.uint8], batch: int, size_px: int, draw: torch.Generator
) -> Tensor:
    """Place random images side by side, unscaled, and crop the size from them."""
    tile_px = pixels_NHWC.shape[1]
    across = -(-size_px // tile_px)
    count = batch * across * across
    rows_T = torch.randint(len(pixels_NHWC), (count,), generator=draw).numpy()
    tiles = torch.from_numpy(pixels_NHWC[rows_T]).view(batch, across, across, tile_px, tile_px, 3)
    x_BCHW = tiles.permute(0, 5, 1, 3, 2, 4).reshape(batch, 3, across * tile_px, across * tile_px)
    spare = across * tile_px - size_px
    top, left = torch.randint(spare + 1, (2,), generator=draw).tolist()
    x_BCHW = x_BCHW[..., top : top + size_px, left : left + size_px].float()
    is_flipped = bool(torch.rand(1, generator=draw) < _FLIP)
    return x_BCHW.flip(3) if is_flipped else x_BCHW


def _crop(x_BCHW: Tensor, size_px: int, smallest: float, draw: torch.Generator) -> Tensor:
    count = len(x_BCHW)
    area, stretch, right, down, flip = torch.rand(5, count, generator=draw)
    side = (smallest + (1 - smallest) * area).sqrt()
    ratio = torch.exp((2 * stretch - 1) * 0.5 * torch.tensor(_MAX_STRETCH).log())
    wide, high = (side * ratio).clamp(max=1), (side / ratio).clamp(max=1)
    theta_B23 = x_BCHW.new_zeros(count, 2, 3)
    theta_B23[:, 0, 0] = torch.where(flip < _FLIP, -wide, wide)
    theta_B23[:, 1, 1] = high
    theta_B23[:, 0, 2] = (2 * right - 1) * (1 - wide)
    theta_B23[:, 1, 2] = (2 * down - 1) * (1 - high)
    grid = F.affine_grid(theta_B23, [count, 3, size_px, size_px], align_corners=False)
    return F.grid_sample(x_BCHW, grid, padding_mode="border", align_corners=False)


def _sharpen(x_BCHW: Tensor, share: float, draw: torch.Generator) -> Tensor:
    """Sharpen some views by up to _MAX_SHARPENED, and soften half as many."""
    chosen, amount = torch.rand(2, len(x_BCHW), generator=draw)
    by_B = torch.where(chosen < share, _MAX_SHARPENED * amount, torch.zeros_like(amount))
    by_B = torch.where(chosen > 1 - share / 2, -amount, by_B)
    padded = F.pad(x_BCHW, (1, 1, 1, 1), mode="replicate")
    soft_BCHW = F.avg_pool2d(padded, 3, stride=1)
    return x_BCHW + by_B[:, None, None, None] * (x_BCHW - soft_BCHW)


def _recolour(x_BCHW: Tensor, most: float, draw: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation, each by a factor of 1 +- `most`."""
    factors = 1 + most * (2 * torch.rand(3, len(x_BCHW), 1, 1, 1, generator=draw) - 1)
    bright, contrast, saturation = factors
    grey_B1HW = x_BCHW.mean(1, keepdim=True)
    mean_B111 = grey_B1HW.mean((2, 3), keepdim=True)
    x_BCHW = grey_B1HW + saturation * (x_BCHW - grey_B1HW)
    return bright * (mean_B111 + contrast * (x_BCHW - mean_B111))
