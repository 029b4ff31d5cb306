"""Texts as tokens, one after the other in one array.

N texts, B batch, T tokens of the longest text of a batch, n tokens of all texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Fills shorter texts of a batch up to the longest, at the right.
FILL = -1


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    # They may be a memmap.
    ids_n: NDArray[np.int32]
    lengths_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths_N)

    def batch(self, rows_B: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return tokens_BT of these rows."""
        lengths_B = self.lengths_N[rows_B]
        is_token_BT = np.arange(lengths_B.max()) < lengths_B[:, None]
        tokens_BT = np.full(is_token_BT.shape, FILL, np.int64)
        tokens_BT[is_token_BT] = self.ids_n[positions(self.lengths_N, rows_B)]
        return tokens_BT


def positions(lengths_N: NDArray[np.int64], rows_B: NDArray[np.intp]) -> NDArray[np.int64]:
    """Where the tokens of these rows are among those of all rows."""
    starts_N = np.cumsum(lengths_N) - lengths_N
    lengths_B = lengths_N[rows_B]
    before_B = np.cumsum(lengths_B) - lengths_B
    return np.arange(lengths_B.sum()) + np.repeat(starts_N[rows_B] - before_B, lengths_B)
