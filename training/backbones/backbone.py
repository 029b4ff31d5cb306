"""Backbones as torch modules: pixels to embedding in ordered blocks, normalisation inside.

Architectures of all libraries have this one interface. Weights move between torch, safetensors and
an exported `backbone.onnx` by the keys of the library's own state dict. Holds no head, trains
nothing.

Axes: B batch, H/W pixels, C channels, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.errors import InvalidRequest, SpecMismatch
from core.inputs.pixels.decoding import PixelSpec
from core.models.binding import bound_weights
from core.models.pretrained import lite0, starter
from training.backbones import weights as weight_files
from training.backbones.blocks import Parts
from training.backbones.download import fetch
from training.backbones.images import timm_models, torchvision_models
from training.backbones.names import LITE0, STARTER, TIMM, Name, parse
from training.backbones.starter_network import EMBEDDING_SIZE, starter_features

NET = "net."
_STARTERS_HEAD = ("head.",)
_BUNDLED = (LITE0, STARTER)
_LITE0_IN_TIMM = "tf_efficientnet_lite0"


class Backbone(nn.Module):  # type: ignore[misc]  # torch is typed as Any here
    """A network without its classifier, and the same network as a list of blocks.

    The blocks share the network's weights and are not part of the module tree. So state-dict keys
    stay the library's, and `parameters()` gives each weight once, as `blocks` does.

    BatchNorm stays in inference mode after `train()` too. With few examples, statistics of small
    batches lower the accuracy, and the exported graph must compute what was trained.
    """

    #: The first block that may be fine-tuned.
    first_tunable = 0
    blocks: nn.ModuleList

    def __init__(
        self,
        name: str,
        net: Mapping[str, nn.Module],
        blocks: Sequence[nn.Module],
        *,
        pixels: PixelSpec,
        mean: Sequence[float],
        std: Sequence[float],
        embedding_size: int,
    ) -> None:
        super().__init__()
        self.name = name
        self.pixels = pixels
        self.mean, self.std = tuple(mean), tuple(std)
        self.embedding_size = embedding_size
        for key, module in net.items():
            self.add_module(key, module)
        self.__dict__["blocks"] = nn.ModuleList(blocks)  # outside the module tree, see above
        # In units of pixels. Not persistent, so that they are constants of the exported graph.
        mean_C11, std_C11 = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
        self.register_buffer("offset_C11", 255 * mean_C11, persistent=False)
        self.register_buffer("scale_C11", 1 / (255 * std_C11), persistent=False)
        self.eval()

    @property
    def input_spec(self) -> PixelSpec:
        return self.pixels

    def forward(self, pixels_BHWC: Tensor) -> Tensor:
        """Embed uint8 RGB pixels, 0 to 255. Returns embedding_BD, float32."""
        return self.forward_from(0, self.normalise(pixels_BHWC))

    def forward_to(self, block: int, pixels_BHWC: Tensor) -> Tensor:
        """Return the input of block number `block`: the activation after the blocks before it."""
        activation = self.normalise(pixels_BHWC)
        for module in self.blocks[:block]:
            activation = module(activation)
        return activation

    def forward_from(self, block: int, activation: Tensor) -> Tensor:
        """Embed a result of `forward_to(block, ...)`. Returns embedding_BD."""
        for module in self.blocks[block:]:
            activation = module(activation)
        return activation

    def normalise(self, pixels_BHWC: Tensor) -> Tensor:
        """Return the input of the first block: x_BCHW, (pixels / 255 - mean) / std."""
        x_BCHW = pixels_BHWC.permute(0, 3, 1, 2).to(self.scale_C11.dtype)
        return (x_BCHW - self.offset_C11) * self.scale_C11

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode)
        self.blocks.train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.training = False
        return self

    def weights(self) -> dict[str, Tensor]:
        """Return the state dict by the library's keys. The tensors are the module's own."""
        return {key.removeprefix(NET): value for key, value in self.state_dict().items()}

    def load(self, weights: Mapping[str, Tensor], ignored: tuple[str, ...], file: str) -> None:
        """Copy weights by the library's keys. Raises InvalidRequest if they do not fit."""
        own = self.weights()
        for key, tensor in weight_files.select(own, weights, ignored, file).items():
            own[key].copy_(tensor)


class StarterBackbone(Backbone):
    """A narrow MobileNetV2 (`starter_network`), whose 19 `features` are its blocks.

    Its state-dict keys (`features.*`) are those of the bundled weights.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], pixels: PixelSpec | None = None
    ) -> None:
        features = starter_features()
        pool = nn.AdaptiveAvgPool2d(1)
        super().__init__(
            STARTER,
            {"features": features, "pool": pool},
            [*features[:-1], nn.Sequential(features[-1], pool, nn.Flatten(1))],
            pixels=pixels or PixelSpec(),
            mean=mean,
            std=std,
            embedding_size=EMBEDDING_SIZE,
        )

    def forward(self, pixels_BHWC: Tensor) -> Tensor:
        """Compute the same as block by block, and keep the node names of the exported graph.

        Other names would change the digest of the bundled backbone, and with it every cached
        embedding.
        """
        return self.pool(self.features(self.normalise(pixels_BHWC))).flatten(1)


def build(
    name: str,
    weights: Path | None = None,
    *,
    pretrained: bool = True,
    cache: Path | None = None,
    progress: bool = True,
) -> Backbone:
    """Build a backbone by name, in inference mode.

    `weights` is a `.safetensors` file with the library's keys, with or without those of the
    classifier. Without a file, the library's pretrained weights are used, from the folder `cache`.
    Without `pretrained`, weights are random.

    Raises InvalidRequest if there is no such backbone or the file does not fit it, and
    BackboneUnavailable if pretrained weights cannot be downloaded.
    """
    if parse(name).library in _BUNDLED:
        module, bundled, ignored = _bundled(name)
        if weights is not None:
            module.load(weight_files.read(weights), ignored, str(weights))
        elif pretrained:
            module.load(weight_files.tensors(bundled()), ignored, name)
        return module
    parts = _parts(name)
    module = _assemble(name, parts)
    if weights is not None:
        given, file = weight_files.read(weights), str(weights)
    elif pretrained:
        path = fetch(parts.source, cache, progress=progress)
        given, file = weight_files.read_published(path), str(path)
    else:
        return module
    try:
        module.load(given, parts.classifier, file)
    except InvalidRequest as error:
        raise InvalidRequest(f"{error}. A file that fits: {parts.source.recipe}") from error
    return module


def from_onnx(name: str, model: bytes) -> Backbone:
    """Build a backbone with the weights of an exported one, to train it further.

    Raises SpecMismatch if the model is not of this backbone.
    """
    is_bundled = parse(name).library in _BUNDLED
    module = _bundled(name)[0] if is_bundled else _assemble(name, _parts(name))
    given = weight_files.tensors(bound_weights(model))
    try:
        module.load(given, (), f"the version's backbone.onnx, said to be {name},")
    except InvalidRequest as error:
        raise SpecMismatch(str(error)) from error
    return module


def starter_backbone(weights: Mapping[str, NDArray[Any]] | None = None) -> StarterBackbone:
    """Build the starter with the given weights (by state-dict key), or with the bundled ones."""
    module = _starter()
    load_weights(module, starter.backbone_weights() if weights is None else weights)
    return module


def load_weights(module: StarterBackbone, weights: Mapping[str, NDArray[Any]]) -> None:
    """Copy weights of any float type into the starter, ignoring those of its head."""
    module.load(weight_files.tensors(weights), _STARTERS_HEAD, "the starter")


def _bundled(name: str) -> tuple[Backbone, Callable[[], Mapping[str, Any]], tuple[str, ...]]:
    """The architecture with random weights, what reads its own, and the keys of its classifier."""
    if name == STARTER:
        return _starter(), starter.backbone_weights, _STARTERS_HEAD
    parts = timm_models.parts(Name(TIMM, _LITE0_IN_TIMM))
    own = parts._replace(pixels=lite0.pixel_spec(), mean=lite0.MEAN, std=lite0.STD)
    return _assemble(name, own), lite0.backbone_weights, parts.classifier


def _starter() -> StarterBackbone:
    return StarterBackbone(**starter.card()["normalisation"], pixels=starter.pixel_spec())


def _parts(name: str) -> Parts:
    parsed = parse(name)
    return (timm_models if parsed.library == TIMM else torchvision_models).parts(parsed)


def _assemble(name: str, parts: Parts) -> Backbone:
    return Backbone(
        name,
        {NET.removesuffix("."): parts.net},
        parts.blocks,
        pixels=parts.pixels,
        mean=parts.mean,
        std=parts.std,
        embedding_size=parts.embedding_size,
    )
