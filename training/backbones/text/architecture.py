"""What makes an encoder beside its weights and its tokenizer. Its exported file carries it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from core.errors import SpecMismatch
from training.backbones.text.families import FAMILIES, num_positions, read_config

MEAN, CLS = "mean", "cls"
POOLINGS = (MEAN, CLS)

#: The key in the metadata of an exported file.
ENCODER = "encoder"
#: Attention takes time and memory by the square of it.
MAX_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Architecture:
    # A key of FAMILIES, and the part of config.json that the network is made from.
    family: str
    config: dict[str, Any]
    # How the vectors of a text's tokens become one: their mean, or the first token's.
    pooling: str
    # Whether embeddings have the length 1.
    is_normalised: bool
    # Longer texts are cut off. Special tokens count.
    max_tokens: int

    @property
    def width(self) -> int:
        return int(self.config[FAMILIES[self.family].width])

    @property
    def depth(self) -> int:
        """The number of layers."""
        return int(self.config[FAMILIES[self.family].depth])

    @property
    def vocab_size(self) -> int:
        return int(self.config["vocab_size"])

    def to_text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_text(text: str) -> Architecture:
        """Raises SpecMismatch if this release cannot build it."""
        try:
            fields = json.loads(text)
            made = Architecture(**fields)
            read_config(made.config | {"model_type": made.family}, f"the metadata {ENCODER!r}")
            num = num_positions(made.family, made.config)
            if made.pooling not in POOLINGS or not 1 <= made.max_tokens <= num:
                raise ValueError(f"pooling {made.pooling!r}, max_tokens {made.max_tokens}")
        except (ValueError, TypeError, KeyError) as error:
            raise SpecMismatch(f"the encoder of this file cannot be read: {error}") from error
        return made
