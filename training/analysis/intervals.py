"""Wilson's interval of a share (Wilson 1927), which also holds where nothing or all was right."""

from __future__ import annotations

import math

_Z = 1.959964


def wilson(share: float, num_judged: int) -> tuple[float, float]:
    """Return the interval at 95 %; 0 to 1 if nothing was judged."""
    if num_judged == 0:
        return 0.0, 1.0
    z2 = _Z**2 / num_judged
    middle = (share + z2 / 2) / (1 + z2)
    half = _Z / (1 + z2) * math.sqrt(share * (1 - share) / num_judged + z2 / num_judged / 4)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
