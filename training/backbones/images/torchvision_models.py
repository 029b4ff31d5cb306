"""torchvision's classifiers as backbones: the order of their modules, and their pixels.

Owns the differences between the families. Reads no weights (`training/backbones/weights.py`).

Axes: B batch, C channels, H/W pixels, P patches, D embedding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from core.inputs.pixels.decoding import PixelSpec
from training.backbones.blocks import Parts, cut_into_blocks
from training.backbones.download import Source
from training.backbones.names import Name
from training.backbones.torchvision_import import torchvision

# Trained on pixels from -1 to 1. torchvision's option `transform_input` converts the usual
# normalisation inside the network. Here the network gets its pixels directly.
_SCALED_TO_ONE = {"inception", "googlenet"}

_OPTIONS: dict[str, dict[str, Any]] = {
    family: {"aux_logits": False, "transform_input": False, "init_weights": True}
    for family in _SCALED_TO_ONE
} | {"vgg": {"init_weights": False}}  # 120 of its 130 million weights are dropped below

# Modules between the last stage and the logits. Pooling is replaced by the mean for all families:
# VGG's own 7 x 7 grid would give an embedding of 25,088 numbers, and the mean has 512.
_ENDING = ("avgpool", "flatten", "dropout", "classifier", "fc", "head", "heads")
_AUXILIARY = ("AuxLogits", "aux1", "aux2")


def parts(name: Name) -> Parts:
    """Build a network with random weights, without its classifier, in blocks."""
    published = torchvision.models.get_model_weights(name.model).DEFAULT
    preset = published.transforms()
    net = torchvision.models.get_model(name.model, weights=None, **_OPTIONS.get(name.family, {}))
    half = [0.5] * 3 if name.family in _SCALED_TO_ONE else None
    size_px, short_side_px = preset.crop_size[0], preset.resize_size[0]
    embedding_size = 512 if name.family == "vgg" else _inputs_of_the_classifier(net)
    steps = _vit_steps(net) if name.family == "vit" else _steps(net)
    for ending, module in _endings(net):
        # ConvNeXt's classifier begins with the norm of the embedding, which stays.
        setattr(net, ending, nn.Sequential(*(m for m in module.children() if m in steps)))
    return Parts(
        net=net,
        blocks=cut_into_blocks(steps),
        # torchvision resizes the short side and crops the centre. Evergreen crops the same square
        # first. The difference is the rounding of the square's edges to whole pixels.
        pixels=PixelSpec(size_px, min(1.0, size_px / short_side_px)),
        mean=half or preset.mean,
        std=half or preset.std,
        embedding_size=embedding_size,
        classifier=tuple(f"{name}." for name in (*_ENDING, *_AUXILIARY)),
        source=Source(url=published.url, recipe=_recipe(name.model)),
    )


def _recipe(model: str) -> str:
    return (
        'python -c "import torchvision, safetensors.torch as s; '
        f"s.save_file(torchvision.models.get_model('{model}', weights='DEFAULT').state_dict(), "
        f"'{model}.safetensors')\""
    )


def _endings(net: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in net.named_children() if name in _ENDING]


def _inputs_of_the_classifier(net: nn.Module) -> int:
    """Return the second axis of the first matrix after the last stage."""
    endings = [parameter for _, child in _endings(net) for parameter in child.parameters()]
    return int(next(parameter for parameter in endings if parameter.ndim > 1).shape[1])


def _steps(net: nn.Module) -> list[nn.Module]:
    """Return the children of the network in their order, then the mean over the image."""
    stages = [child for name, child in net.named_children() if name not in _ENDING]
    pooling = [nn.AdaptiveAvgPool2d(1), nn.Flatten(1)]
    if isinstance(net, torchvision.models.ConvNeXt):
        pooling.insert(1, net.classifier[0])
    return [*stages, *pooling]


def _vit_steps(net: nn.Module) -> list[nn.Module]:
    encoder = net.encoder
    return [_Tokens(net), *encoder.layers, encoder.ln, _ClassToken()]


class _Tokens(nn.Module):  # type: ignore[misc]  # torch is typed as Any here
    """The part of a vision transformer before its first layer, with the network's own weights."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.conv_proj = net.conv_proj
        self.class_token = net.class_token
        self.pos_embedding = net.encoder.pos_embedding
        self.dropout = net.encoder.dropout

    def forward(self, x_BCHW: Tensor) -> Tensor:
        patches_BPD = self.conv_proj(x_BCHW).flatten(2).transpose(1, 2)
        token_B1D = self.class_token.expand(x_BCHW.shape[0], -1, -1)
        return self.dropout(torch.cat([token_B1D, patches_BPD], dim=1) + self.pos_embedding)


class _ClassToken(nn.Module):  # type: ignore[misc]  # torch is typed as Any here
    def forward(self, x_BPD: Tensor) -> Tensor:
        return x_BPD[:, 0]
