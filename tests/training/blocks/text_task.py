"""A small task of texts to tune an encoder for: which of three words they have."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.training.backbones.text.tiny_encoder import NUM_TOKENS, SPECIAL, tiny_encoder
from training.blocks.texts.inputs import TokenInputs
from training.blocks.texts.tokens import Tokens
from training.head.design_matrix import prepare
from training.head.head import Head
from training.head.regression import fit as fit_coefficients
from training.recipe import TextBlocksRecipe

CLASSES = ("the", "a", "bill")
FIRST_FILLER = len(SPECIAL) + len(CLASSES)
NUM_ROWS = 144
RECIPE = TextBlocksRecipe(
    depth=2, epochs=4, batch_size=16, lr=1e-2, head_lr=1e-2, label_smoothing=0.0, patience=9
)


def texts(num_rows: int, seed: int = 0) -> tuple[Tokens, NDArray[np.intp]]:
    """Texts of 6 to 24 tokens, in which a single word tells the class."""
    rng = np.random.default_rng(seed)
    y_N = np.arange(num_rows) % len(CLASSES)
    rows = []
    for y in y_N:
        ids = rng.integers(FIRST_FILLER, NUM_TOKENS, size=rng.integers(6, 25)).astype(np.int32)
        ids[rng.integers(1, len(ids) - 1)] = len(SPECIAL) + y
        ids[0], ids[-1] = 0, 2
        rows.append(ids)
    return Tokens(np.concatenate(rows), np.array([len(row) for row in rows])), y_N


def embed(encoder: Any, tokens: Tokens) -> NDArray[np.float32]:
    with torch.no_grad():
        embedding_ND = encoder(torch.from_numpy(tokens.batch(np.arange(len(tokens)))))
    return np.asarray(embedding_ND.numpy())


def small_text_task() -> tuple[Any, Head, TokenInputs, NDArray[np.intp], NDArray[np.bool_]]:
    """An encoder, a head for it, texts, labels [N], and which rows are held out."""
    tokens, y_N = texts(NUM_ROWS)
    is_held_out_N = np.arange(NUM_ROWS) % 12 >= 9  # evenly of both classes
    encoder = tiny_encoder()
    design = prepare(embed(encoder, tokens)[~is_held_out_N])
    fitted = fit_coefficients(design, y_N[~is_held_out_N], len(CLASSES), l2=0.1)
    return encoder, design.head(fitted, CLASSES), TokenInputs(tokens), y_N, is_held_out_N
