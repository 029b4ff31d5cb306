"""The pretrained models that version 1 can be published from, without torch and without a download.

Of images, `efficientnet-lite0` is the default, and `starter` is smaller and faster. Texts have
`all-minilm-l6-v2`, which knows no classes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from core.inputs.kind import InputKind, InputSpec
from core.inputs.pixels.kind import PIXELS
from core.inputs.tokens.kind import TOKENS
from core.models.head_onnx import LinearHead
from core.models.pretrained import lite0, minilm, starter

#: Of homes of images, the default first.
NAMES = (lite0.NAME, starter.NAME)
#: Of homes of texts.
TEXT_NAMES = (minilm.NAME,)
#: What reads the names of classes for those that can predict by these alone.
ZERO_SHOT = {minilm.NAME: minilm.reader}


class Pretrained(NamedTuple):
    name: str
    backbone: bytes
    head: LinearHead
    input_spec: InputSpec
    #: Measured and published figures, from the model's card.
    figures: dict[str, Any]
    #: The backbone in float32 of which `backbone` is the int8 form; None: it is float32 itself.
    in_float32: bytes | None = None
    #: Logits of zero-shot classes are so many times the cosine with the embedded name.
    zero_shot_scale: float = 1.0


def names(kind: InputKind) -> tuple[str, ...]:
    """Of a home of this kind, the default first."""
    return {PIXELS.spec_key: NAMES, TOKENS.spec_key: TEXT_NAMES}[kind.spec_key]


def load(name: str) -> Pretrained:
    """Read one of `NAMES` or `TEXT_NAMES`. Raises SpecMismatch if its weights are not installed."""
    if name == minilm.NAME:
        return Pretrained(
            name,
            minilm.backbone_onnx(),
            minilm.head(),
            minilm.token_spec(),
            minilm.card()["figures"],
            minilm.float32_onnx(),
            minilm.ZERO_SHOT_SCALE,
        )
    model = {lite0.NAME: lite0, starter.NAME: starter}[name]
    return Pretrained(
        name, model.backbone_onnx(), model.head(), model.pixel_spec(), model.card()["figures"]
    )
