"""Cuts texts into parts of similar length. A pure function.

N texts, B texts of a part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The shortest text of a part over its longest. Fillers are then a tenth of a part, or less.
_LEAST_RATIO = 0.8


def parts_of_similar_length(
    lengths_N: NDArray[np.int64], most_tokens: int
) -> list[NDArray[np.intp]]:
    """Return the positions of all texts in parts, the longest first, each of at most `most_tokens`
    with its fillers, or of one text.

    Equal lengths keep their order.
    """
    order_N = np.argsort(-lengths_N, kind="stable")
    parts: list[NDArray[np.intp]] = []
    start = 0
    while start < len(order_N):
        longest = int(lengths_N[order_N[start]])
        end = start + max(1, most_tokens // max(1, longest))
        part = order_N[start:end]
        is_similar = lengths_N[part] >= _LEAST_RATIO * longest
        parts.append(part[: int(is_similar.sum())])
        start += len(parts[-1])
    return parts
