"""Cuts texts into parts of similar length. A pure function.

N texts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Fillers that cost as much time as one more part: the calls of a part take as long as so many
# tokens in a layer of BERT.
_FILLERS_OF_A_PART = 48
# Beyond, fillers are a tenth of a part's tokens, or less.
_SHARE_OF_FILLERS = 0.1


def parts_of_similar_length(
    lengths_N: NDArray[np.int64], most_tokens: int
) -> list[NDArray[np.intp]]:
    """Return the positions of all texts in parts, the longest first, each of at most `most_tokens`
    with its fillers, or of one text.

    Equal lengths keep their order.
    """
    order_N = np.argsort(-lengths_N, kind="stable")
    parts: list[NDArray[np.intp]] = []
    while len(order_N):
        longest = int(lengths_N[order_N[0]])
        part = order_N[: max(1, most_tokens // max(1, longest))]
        fillers = np.cumsum(longest - lengths_N[part])
        allowed = np.maximum(_FILLERS_OF_A_PART, _SHARE_OF_FILLERS * np.cumsum(lengths_N[part]))
        # Both grow, fillers ever faster: the first excess is the end.
        is_over = fillers > allowed
        parts.append(part[: int(is_over.argmax())] if is_over.any() else part)
        order_N = order_N[len(parts[-1]) :]
    return parts
