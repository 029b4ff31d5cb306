"""all-MiniLM-L6-v2 as a torch module: the backbone of a new home of texts, to train it further.

Its own file has the weights in int8, by other names than those of an encoder that was exported.
"""

from __future__ import annotations

from core.models.pretrained import minilm
from training.backbones import weights as weight_files
from training.backbones.text.architecture import MEAN, Architecture
from training.backbones.text.encoder import TextEncoder
from training.backbones.text.families import read_config
from training.backbones.text.load import own_weights


def starter() -> TextEncoder:
    """Raises SpecMismatch if its weights are not installed."""
    spec = minilm.token_spec()
    given = weight_files.tensors(minilm.weights())
    fields = {"model_type": "bert", "vocab_size": spec.vocab_size, **minilm.CONFIG}
    family, config = read_config(fields, minilm.NAME)
    architecture = Architecture(family, config, MEAN, True, spec.max_tokens)
    weights = own_weights(given, architecture, minilm.NAME)
    return TextEncoder(minilm.NAME, architecture, minilm.tokenizer_json(), weights, minilm.NAME)
