"""Near-duplicates among what a person is shown: a copy teaches nothing that the image does not.

D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SAME_COSINE = 0.9


@dataclass(slots=True, eq=False)
class Spread:
    """What is shown so far, by direction or by group of near-duplicates."""

    directions: list[NDArray[np.float32]] = field(default_factory=list)
    groups: set[str] = field(default_factory=set)

    def add(self, x_D: NDArray[np.float32] | None, group: str | None) -> None:
        if x_D is not None:
            self.directions.append(x_D)
        if group is not None:
            self.groups.add(group)

    def has_near_duplicate(self, x_D: NDArray[np.float32] | None, group: str | None) -> bool:
        """Whether something that is shown is nearly the same. `x_D` has length 1."""
        if group in self.groups:
            return True
        if x_D is None or not self.directions:
            return False
        return float(max(np.dot(each_D, x_D) for each_D in self.directions)) >= SAME_COSINE
