"""Tokens that blocks are tuned on: made once and not once an epoch.

N texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.store.blobs import Blobs
from training.backbones.backbone_ref import BackboneRef
from training.backbones.text.quantise import as_int8
from training.blocks.device import Compute
from training.blocks.inputs import Room
from training.blocks.tail import Tail
from training.blocks.texts.activations import TokenActivations
from training.blocks.texts.tokens import Tokens
from training.recipe import TuningRecipe

_HASHED_TOKENS = 2**20
# Ids are far below 2^31.
_TYPE = np.dtype("<i4")


@dataclass(frozen=True, slots=True, eq=False)
class TokenInputs:
    tokens: Tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def contents(self) -> Iterator[Any]:
        yield self.tokens.lengths_N.data
        for start in range(0, len(self.tokens.ids_n), _HASHED_TOKENS):
            yield np.ascontiguousarray(self.tokens.ids_n[start : start + _HASHED_TOKENS]).data

    def activations(
        self,
        tail: Tail,
        compute: Compute,
        rows_N: NDArray[np.intp],
        recipe: TuningRecipe,
        file: Path,
        seed: int,
        *,
        is_varied: bool,
        limit_mb: float,
    ) -> TokenActivations:
        return TokenActivations(
            tail, compute, self.tokens, rows_N, file, limit_mb=limit_mb, memory_mb=recipe.memory_mb
        )

    def as_int8(
        self, backbone: BackboneRef, blobs: Blobs, on_inputs: Callable[[int], None]
    ) -> BackboneRef:
        return as_int8(backbone, blobs)


class TokenWriter:
    """Writes the tokens to one file, text after text."""

    def __init__(self, folder: Path, num_rows: int) -> None:
        self._path = folder / "tokens.i32"
        self._file = self._path.open("wb")
        self._lengths: list[int] = []

    def add(self, array: NDArray[np.int64]) -> None:
        self._file.write(array.astype(_TYPE).tobytes())
        self._lengths.append(len(array))

    def finish(self) -> TokenInputs:
        self._file.close()
        lengths_N = np.array(self._lengths, np.int64)
        num_tokens = int(lengths_N.sum())
        # An empty file cannot be mapped.
        ids_n = np.memmap(self._path, _TYPE, "r") if num_tokens else np.empty(0, _TYPE)
        return TokenInputs(Tokens(ids_n, lengths_N))


ROOM = Room(recipe=lambda recipe: recipe.text.blocks, writer=TokenWriter)
