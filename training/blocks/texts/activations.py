"""Activations of texts at the freeze boundary: computed once for each text, then read from disk.

Texts differ in length. The cache holds the activations of all tokens one after the other, in half
precision. A batch is cut into parts of similar length, so that little time goes to fillers.

N rows, B batch, T tokens of the longest text of a part, W numbers of one token; n tokens of all
rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.blocks.cache_file import CacheFile, to_half
from training.blocks.device import COPIES_TO_EMBED, COPIES_TO_LEARN, Compute, output_bytes
from training.blocks.tail import Tail
from training.blocks.texts.lengths import parts_of_similar_length
from training.blocks.texts.tokens import Tokens, positions

# More tokens at once are no faster on a CPU, and a check for a cancelled run waits for them.
_LARGEST_EMBEDDED = 4096


class TokenActivations:
    def __init__(
        self,
        tail: Tail,
        compute: Compute,
        tokens: Tokens,
        rows_N: NDArray[np.intp],
        file: Path,
        *,
        limit_mb: float,
        memory_mb: int,
    ) -> None:
        """Hold `rows_N` of the texts. This object owns `file` and the file beside it that says
        whether it is filled."""
        self._tail, self._compute = tail, compute
        self._tokens, self._rows_N = tokens, rows_N
        self._lengths_N = tokens.lengths_N[rows_N]
        self._memory_bytes = compute.memory_mb(memory_mb) * 2**20
        self._longest_1 = np.array([self._lengths_N.argmax()])
        sizes = output_bytes(tail.backbone, lambda: self._compute_activation(self._longest_1))
        self._most_embedded = self._most_tokens(COPIES_TO_EMBED * max(sizes), _LARGEST_EMBEDDED)
        self._most_learnt = self._most_embedded
        self._width = self._compute_activation(self._longest_1).shape[-1]
        self._cache = CacheFile(
            file,
            int(self._lengths_N.sum()) * self._width,
            1,
            limit_mb,
            f"{len(rows_N):,} texts",
        )
        self.notes = self._cache.notes

    def __len__(self) -> int:
        return len(self._rows_N)

    @property
    def num_unfilled(self) -> int:
        return self._cache.num_unfilled

    @property
    def megabytes(self) -> float:
        return self._cache.megabytes

    def prepare(self, batch_size: int) -> None:
        activation = self._compute_activation(self._longest_1)
        sizes = output_bytes(self._tail, lambda: self._tail(activation))
        most = batch_size * int(self._lengths_N.max())
        self._most_learnt = self._most_tokens(COPIES_TO_LEARN * sum(sizes), most)

    def fill(self, view: int, check: Callable[[], None]) -> None:
        stored_VnW = self._cache.stored(-1, self._width)
        if stored_VnW is None or not self._cache.is_to_fill(view):
            return
        # Parts depend on the lengths alone: a resumed run must get the same bits.
        for at_B in parts_of_similar_length(self._lengths_N, self._most_embedded):
            check()
            activation_BTW = self._compute_activation(at_B)
            half_nW = to_half(activation_BTW[self._is_token(at_B)])
            if half_nW is None:
                self._cache.give_up("activations at this block are too large for half precision")
                return
            stored_VnW[view, positions(self._lengths_N, at_B)] = half_nW
        self._cache.mark_filled(view)

    def views(self, epoch: int, rng: np.random.Generator) -> NDArray[np.intp]:
        return np.zeros(len(self), np.intp)

    def batch(self, at_B: NDArray[np.intp]) -> Tensor:
        """Return activation_BTW of these rows, float32, 0 at fillers. A cache must be filled."""
        stored_VnW = self._cache.stored(-1, self._width)
        if stored_VnW is None:
            return self._compute_activation(at_B)
        half_nW = torch.from_numpy(stored_VnW[0, positions(self._lengths_N, at_B)]).to(
            self._compute.device
        )
        is_token_BT = self._is_token(at_B)
        activation_BTW = torch.zeros(*is_token_BT.shape, self._width, device=self._compute.device)
        activation_BTW[is_token_BT] = half_nW.float()
        return activation_BTW

    def microbatches(
        self,
        view_B: NDArray[np.intp],
        at_B: NDArray[np.intp],
        target_BK: Tensor,
        rng: np.random.Generator,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for part_B in parts_of_similar_length(self._lengths_N[at_B], self._most_learnt):
            yield self.batch(at_B[part_B]), target_BK[torch.from_numpy(part_B)]

    def batches(self) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
        for at_B in parts_of_similar_length(self._lengths_N, self._most_embedded):
            yield at_B, self.batch(at_B)

    def delete(self) -> None:
        self._cache.delete()

    def _compute_activation(self, at_B: NDArray[np.intp]) -> Tensor:
        tokens_BT = torch.from_numpy(self._tokens.batch(self._rows_N[at_B]))
        with self._compute.autocast():
            return self._tail.frozen(tokens_BT.to(self._compute.device)).float()

    def _is_token(self, at_B: NDArray[np.intp]) -> Tensor:
        lengths_B = torch.from_numpy(self._lengths_N[at_B]).to(self._compute.device)
        return torch.arange(int(lengths_B.max()), device=lengths_B.device) < lengths_B[:, None]

    def _most_tokens(self, bytes_of_longest: int, most: int) -> int:
        """How many tokens fit into memory at once, fillers included."""
        longest = int(self._lengths_N.max())
        fitting = self._memory_bytes * longest // max(1, bytes_of_longest)
        return max(longest, min(most, fitting))
