"""The direction of an embedding in a byte for each number, as kept predictions have it.

A head that a run has trained sees only the direction of an embedding, so it can score an image anew
without the image. Rounding turns the direction by less than a degree.

N rows, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_LARGEST = 127


def to_int8(embedding_D: NDArray[np.float32]) -> bytes | None:
    """Return the embedding divided by its largest absolute number, times 127, rounded.

    None for an embedding without a direction: all zeros, or not finite.
    """
    # Every prediction pays for each call of numpy.
    largest = float(np.maximum.reduce(np.abs(embedding_D)))
    if not 0 < largest < np.inf:  # also false for NaN
        return None
    rounded: bytes = np.rint(embedding_D * (_LARGEST / largest)).astype(np.int8).tobytes()
    return rounded


def from_int8(rows: Sequence[bytes]) -> NDArray[np.float32]:
    """Return vectors of length 1 [N, D]. The rows have one length."""
    stored_ND = np.frombuffer(b"".join(rows), np.int8).reshape(
        len(rows), len(rows[0]) if rows else 0
    )
    return unit(stored_ND.astype(np.float32))


def unit(x_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to length 1, in place. Rows of zeros stay."""
    length_N = np.sqrt(np.einsum("nd,nd->n", x_ND, x_ND))
    x_ND /= np.maximum(length_N, np.float32(1e-12))[:, None]
    return x_ND
