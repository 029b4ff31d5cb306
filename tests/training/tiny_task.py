"""A small task to tune a backbone for."""

import numpy as np

from tests.training.backbones.tiny_backbone import photos, probe, tiny_backbone
from training.blocks.images.inputs import PixelInputs
from training.recipe import BlocksRecipe

NUM_ROWS = 144
RECIPE = BlocksRecipe(
    depth=2, epochs=4, batch_size=16, lr=1e-2, head_lr=1e-2, augment="light", views=2, patience=9
)


def small_task():
    """A backbone, a head for it, photos, labels [N], and which rows are held out."""
    pixels_NHWC, y_N = photos(NUM_ROWS)
    is_held_out_N = np.arange(NUM_ROWS) % 12 >= 9  # evenly of all classes
    backbone = tiny_backbone()
    head = probe(backbone, pixels_NHWC[~is_held_out_N], y_N[~is_held_out_N])
    return backbone, head, PixelInputs(pixels_NHWC), y_N, is_held_out_N
