"""Builds encoders of texts: from a folder, or from a file that was exported from one.

Weights are read from safetensors alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import onnx
from torch import Tensor

from core.errors import InvalidRequest, SpecMismatch
from core.inputs.tokens.kind import TOKENS
from core.inputs.tokens.reader import METADATA_KEY
from core.models.binding import bound_weights
from training.backbones import weights as weight_files
from training.backbones.text.architecture import ENCODER, Architecture
from training.backbones.text.encoder import TextEncoder
from training.backbones.text.families import FAMILIES
from training.backbones.text.folder import read_folder

#: What the first checkpoints of BERT call the weights of a LayerNorm.
_OLD_NAMES = ((".gamma", ".weight"), (".beta", ".bias"))
_LAYER = re.compile(r"\.layer\.(\d+)\.")


def from_folder(name: str, folder: Path) -> TextEncoder:
    """Build an encoder in inference mode. Raises InvalidRequest if the folder has none that this
    release supports."""
    files = read_folder(folder)
    given: dict[str, Tensor] = {}
    for part in files.weights:
        given |= weight_files.read(part)
    weights = own_weights(given, files.architecture, str(folder))
    file = f"{folder}, said to be {files.architecture.family},"
    return TextEncoder(name, files.architecture, files.tokenizer, weights, file)


def own_weights(
    given: Mapping[str, Tensor], architecture: Architecture, file: str
) -> dict[str, Tensor]:
    """Return the weights of the encoder itself, by the keys of its network.

    Files have them with the family's prefix or without it, and those of heads beside them. Raises
    InvalidRequest if they are none: shapes are checked where they are loaded.
    """
    family = FAMILIES[architecture.family]
    prefix = f"{architecture.family}."
    starts = ("embeddings.", f"{family.key}.")
    own = {key.removeprefix(prefix): tensor for key, tensor in given.items()}
    own = {_renamed(key): tensor for key, tensor in own.items() if key.startswith(starts)}
    own = {key: tensor for key, tensor in own.items() if not key.endswith("_ids")}
    rounded = sorted(key for key, tensor in own.items() if not tensor.is_floating_point())
    if rounded:
        raise InvalidRequest(
            f"{file} has {rounded[0]} as {own[rounded[0]].dtype}, and weights must be floating "
            "point: use the encoder as it was before it was quantised"
        )
    numbers = {int(match[1]) for match in map(_LAYER.search, own) if match}
    # Before anything is made by the number that config.json has.
    if numbers and len(numbers) != architecture.depth:
        raise InvalidRequest(
            f"{file} has the weights of {len(numbers)} layers, and its config.json says "
            f"{family.depth} = {architecture.depth}: use both as they were published"
        )
    return own


def is_encoder(model: bytes) -> bool:
    """Whether an exported file takes texts."""
    inputs = {value.name for value in onnx.load_from_string(model).graph.input}
    return inputs == {*TOKENS.onnx_inputs}


def from_onnx(name: str, model: bytes) -> TextEncoder:
    """Build an encoder from an exported file, to train it further.

    Raises SpecMismatch if the file is not of an encoder of texts, or is in int8.
    """
    metadata = read_metadata(model)
    if ENCODER not in metadata or METADATA_KEY not in metadata:
        raise SpecMismatch(
            f"the version's backbone.onnx, said to be {name}, does not say which encoder it is: "
            "`evergreen backbone use` with a folder or hf/NAME trains on one that can be tuned"
        )
    architecture = Architecture.from_text(metadata[ENCODER])
    given = weight_files.tensors(bound_weights(model))
    file = f"the version's backbone.onnx, said to be {name},"
    try:
        return TextEncoder(name, architecture, metadata[METADATA_KEY], given, file)
    except InvalidRequest as error:
        raise SpecMismatch(str(error)) from error


def read_metadata(model: bytes) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load_from_string(model).metadata_props}


def _renamed(key: str) -> str:
    for old, new in _OLD_NAMES:
        key = key.removesuffix(old) + new if key.endswith(old) else key
    return key
