"""The preconditioner of a fit: coordinates in which its loss is nearly round.

A class's block of the Hessian is E[xx'], each row weighted by p(1 - p) (Böhning 1992), plus the
penalty. In the eigenbasis of E[xx'] that is about diagonal. Weights divided by the inverse root of
this diagonal need few iterations of L-BFGS, however ill-conditioned the embeddings are.

Suffixes: R rotated embedding, S = R + 1, whose last row is the bias.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def step_sizes(variance_R: NDArray[np.float64], curvature: float, l2: float) -> NDArray[np.float64]:
    """Return step_S1: a weight is its coordinate times its step.

    `curvature` is p(1 - p), and `l2` > 0 the penalty, which the bias does not have.
    """
    return np.append(1 / np.sqrt(curvature * variance_R + l2), curvature**-0.5)[:, None]
