"""What backbones cost and gain, as measured. Loads neither torch nor weights.

Sources: the tables of docs/how-to/backbones.md (`python -m bench.backbones`) and of
bench/results/learning.md (`python -m bench.learning`).
"""

from __future__ import annotations

from typing import NamedTuple


class Cost(NamedTuple):
    #: Size of backbone.onnx, in units of 10^6 bytes.
    file_mb: float
    #: Time of one photo on one CPU core, over that of the starter.
    times_starter: float
    #: Percent right of five kinds of flowers with 20 and with 100 labels a class. None: not known.
    right_20: float | None = None
    right_100: float | None = None


MEASURED = {
    "starter": Cost(6.4, 1.0),
}
