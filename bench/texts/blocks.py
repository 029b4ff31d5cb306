"""Tier `blocks` on texts: the last layers of the starter are tuned, with the steps of the service.

Tuning begins at the starter's published weights, in float32, and the result is judged in float32.

N rows, D embedding.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from bench.learning.tables import cells
from bench.texts.tasks import Task, accuracy_of, interval
from core.inputs.tokens.reader import METADATA_KEY
from training.head.crossval import assign_folds
from training.head.fit import fit_head
from training.recipe import HeadRecipe, TextBlocksRecipe

TITLE = "Tier blocks on texts: mean ± spread over draws"
COLUMNS = (
    "data", "labels a class", "head", "blocks", "gain, points", "head, s", "blocks, s"
)  # fmt: skip


def row_of(task: Task, per_class: int, num_draws: int, progress: Progress) -> list[str]:
    import torch

    from training.backbones.text.starter import starter

    torch.set_num_threads(1)
    encoder = starter()
    inputs = tokenise(encoder, task.texts)
    x_ND = embed(encoder, inputs, np.arange(len(inputs)))
    measured = []
    bar = progress.add_task(f"{task.name}: blocks, {per_class} labels a class", total=num_draws)
    for seed in range(num_draws):
        labelled_N, judging_N = task.draw(per_class, seed)
        dataset = task.dataset(labelled_N, x_ND)
        began = time.process_time()
        head = fit_head(dataset, HeadRecipe(), score_all=False).head
        head_s = time.process_time() - began
        before = accuracy_of(head, x_ND[judging_N], task.y_N[judging_N])
        began = time.process_time()
        backbone, head = tuned(encoder, inputs, task, labelled_N, x_ND, seed)
        blocks_s = time.process_time() - began
        after = accuracy_of(head, embed(backbone, inputs, judging_N), task.y_N[judging_N])
        measured.append((before, after, head_s, blocks_s))
        progress.advance(bar)
    head_cell, blocks_cell, *seconds = cells(measured, (".3f", ".3f", ".2f", ".0f"))
    gain = interval([100 * (after - before) for before, after, *_ in measured])
    return [task.name, str(per_class), head_cell, blocks_cell, gain, *seconds]


def tuned(
    encoder: Any,
    inputs: Any,
    task: Task,
    rows_N: NDArray[np.intp],
    x_ND: NDArray[np.float32],
    seed: int,
) -> tuple[Any, Any]:
    """Tune while one fold chooses the epoch. Returns the encoder, and a head fitted on it."""
    from training.blocks.finetune import tune

    dataset = task.dataset(rows_N, x_ND)
    is_held_out_N = assign_folds(dataset.group_N, dataset.y_N, 5, seed) == 0
    start = fit_head(dataset.part(~is_held_out_N), HeadRecipe(), score_all=False).head
    with tempfile.TemporaryDirectory() as folder:
        result = tune(
            encoder,
            start,
            part_of(inputs, rows_N),
            dataset.y_N,
            is_held_out_N,
            TextBlocksRecipe(),
            Path(folder),
            seed=seed,
            device="cpu",
            clock=time.process_time,
        )
    tuned_ND = np.zeros_like(x_ND)
    tuned_ND[rows_N] = embed(result.backbone, inputs, rows_N)
    again = task.dataset(rows_N, tuned_ND)
    fitted = fit_head(again, HeadRecipe(), score_all=False, calibrate_on=again.part(is_held_out_N))
    return result.backbone, fitted.head


def tokenise(encoder: Any, texts: tuple[str, ...]) -> Any:
    """Return `TokenInputs` of all texts."""
    from training.blocks.texts.inputs import TokenInputs
    from training.blocks.texts.tokens import Tokens

    reader = encoder.input_spec.reader({METADATA_KEY: encoder.tokenizer})
    ids = [reader.decode(text.encode()).array for text in texts]
    lengths_N = np.array([len(each) for each in ids], np.int64)
    return TokenInputs(Tokens(np.concatenate(ids).astype(np.int32), lengths_N))


def part_of(inputs: Any, rows_N: NDArray[np.intp]) -> Any:
    from training.blocks.texts.inputs import TokenInputs
    from training.blocks.texts.tokens import Tokens, positions

    tokens = inputs.tokens
    ids_n = tokens.ids_n[positions(tokens.lengths_N, rows_N)]
    return TokenInputs(Tokens(ids_n, tokens.lengths_N[rows_N]))


def embed(encoder: Any, inputs: Any, rows_N: NDArray[np.intp]) -> NDArray[np.float32]:
    """Embed texts of similar length together. Returns x_ND."""
    import torch

    order = np.argsort(inputs.tokens.lengths_N[rows_N], kind="stable")
    x_ND = np.empty((len(rows_N), encoder.embedding_size), np.float32)
    with torch.inference_mode():
        for start in range(0, len(rows_N), 64):
            at_B = order[start : start + 64]
            x_ND[at_B] = encoder(torch.from_numpy(inputs.tokens.batch(rows_N[at_B]))).numpy()
    return x_ND
