"""The pretrained models that version 1 can be published from, without torch and without a download.

`efficientnet-lite0` is the default. `starter` is smaller and faster.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from core.inputs.kind import InputSpec
from core.models import lite0, starter
from core.models.head_onnx import LinearHead

#: The default first.
NAMES = (lite0.NAME, starter.NAME)


class Pretrained(NamedTuple):
    name: str
    backbone: bytes
    head: LinearHead
    input_spec: InputSpec
    #: Measured and published figures, from the model's card.
    figures: dict[str, Any]


def load(name: str) -> Pretrained:
    """Read one of `NAMES`. Raises SpecMismatch if its weights are not installed."""
    model = {lite0.NAME: lite0, starter.NAME: starter}[name]
    return Pretrained(
        name, model.backbone_onnx(), model.head(), model.pixel_spec(), model.card()["figures"]
    )
