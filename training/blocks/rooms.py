"""How blocks are tuned for each kind of input. Nothing else that tunes asks for a kind."""

from __future__ import annotations

from core.inputs.kind import InputSpec
from core.inputs.pixels.kind import PIXELS
from core.inputs.tokens.kind import TOKENS
from training.blocks.images.inputs import ROOM as IMAGES
from training.blocks.inputs import Room
from training.blocks.texts.inputs import ROOM as TEXTS

_ROOMS = {PIXELS.spec_key: IMAGES, TOKENS.spec_key: TEXTS}


def room_of(spec: InputSpec) -> Room:
    return _ROOMS[spec.key]
