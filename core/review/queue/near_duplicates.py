"""Near-duplicates among what a person is shown: a copy teaches nothing that the image does not.

Directions are compared from the centre of the images at hand, because all embeddings of a backbone
have much in common. Of photos of flowers, these shares are near-duplicates, by backbone:

| changed photo | EfficientNet-Lite0 | starter |
|---|---|---|
| stored again at quality 70 | 92 % | 100 % |
| scaled to three quarters | 83 % | 100 % |
| 2 % of each side cut off | 98 % | 100 % |
| another photo of its kind, the most similar of hundreds | 2 % | 7 % |

N rows, D embedding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.review.directions import unit

SAME_COSINE = 0.88
# The centre of fewer images says little. Without it, other images are more similar.
MIN_CENTRED = 20
SAME_COSINE_OF_FEW = 0.95

Floats = NDArray[np.float32]


class Spread:
    """What is shown so far, by direction or by group of near-duplicates."""

    def __init__(self, x_ND: Floats) -> None:
        """`x_ND` are the directions of all images that may be shown."""
        is_enough = len(x_ND) >= MIN_CENTRED
        self._centre_D = x_ND.mean(axis=0) if is_enough else None
        self._same = SAME_COSINE if is_enough else SAME_COSINE_OF_FEW
        # The first rows are used. They are few, so each becomes twice as many when it is full.
        self._shown_ND = np.empty((16, x_ND.shape[1]), np.float32)
        self._num_shown = 0
        self._groups: set[str] = set()

    def add(self, x_D: Floats | None, group: str | None = None) -> None:
        if group is not None:
            self._groups.add(group)
        if x_D is not None:
            if self._num_shown == len(self._shown_ND):
                self._shown_ND = np.concatenate([self._shown_ND, np.empty_like(self._shown_ND)])
            self._shown_ND[self._num_shown] = self._from_centre(x_D)
            self._num_shown += 1

    def has_near_duplicate(self, x_D: Floats | None, group: str | None = None) -> bool:
        """Whether something that is shown is nearly the same. `x_D` has length 1."""
        if group in self._groups:
            return True
        if x_D is None or not self._num_shown:
            return False
        cosine_N = self._shown_ND[: self._num_shown] @ self._from_centre(x_D)
        return float(cosine_N.max()) >= self._same

    def _from_centre(self, x_D: Floats) -> Floats:
        if self._centre_D is None:
            return x_D
        centred_D: Floats = unit((x_D - self._centre_D)[np.newaxis])[0]
        return centred_D
