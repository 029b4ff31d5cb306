"""timm's models as backbones: hundreds of architectures, cut into blocks without a list of them.

Ways to cut a model are tried on an image of noise. One is used only if it reproduces the model's
own output exactly. Reads no weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import InvalidRequest
from core.inputs.pixels.decoding import PixelSpec
from training.backbones.blocks import Parts, cut_into_blocks, unfold
from training.backbones.download import Source
from training.backbones.names import TIMM, Name, suggest
from training.backbones.torchvision_import import torchvision

assert torchvision  # timm imports it too, and must find it loaded by our module


def parts(name: Name) -> Parts:
    """Build a network with random weights, without its classifier, in blocks.

    Raises InvalidRequest if timm is not installed or has no such model.
    """
    timm = _timm()
    try:
        net = timm.create_model(name.model, pretrained=False).eval()
    except RuntimeError as error:
        similar = suggest(name.model, TIMM, timm.list_models()) or "timm.list_models() names them"
        raise InvalidRequest(f"timm has no model {name.model!r}; {similar}") from error
    shown = timm.data.resolve_model_data_config(net)
    published = net.pretrained_cfg
    classifier = published.get("classifier") or "head"
    net.reset_classifier(0)
    size_px = shown["input_size"][1]
    example = torch.rand(1, *shown["input_size"], generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        blocks = _cut(net, example)
        embedding_size = net(example).shape[1]
    return Parts(
        net=net,
        blocks=blocks,
        pixels=PixelSpec(size_px, min(1.0, shown["crop_pct"])),
        mean=shown["mean"],
        std=shown["std"],
        embedding_size=embedding_size,
        classifier=tuple(
            f"{key}." for key in ([classifier] if isinstance(classifier, str) else classifier)
        ),
        source=_source(name.model, published),
    )


def _timm() -> Any:
    try:
        import timm
        import timm.data
    except ImportError as error:
        raise InvalidRequest(
            "backbones named timm/... need timm: pip install 'evergreen-classifier[training]'"
        ) from error
    return timm


def _source(model: str, published: dict[str, Any]) -> Source:
    recipe = (
        'python -c "import timm, safetensors.torch as s; '
        f"s.save_file(timm.create_model('{model}', pretrained=True).state_dict(), "
        f"'{model}.safetensors')\""
    )
    file = published.get("hf_hub_filename") or "model.safetensors"
    if published.get("hf_hub_id"):
        # Some repositories hold pickles only. timm's own all have safetensors.
        repository = published["hf_hub_id"] if file.endswith(".safetensors") else ""
        return Source(repository=repository, file=file, recipe=recipe)
    url = published.get("url") or ""
    return Source(url=url if url.endswith(".pth") else "", recipe=recipe)


def _cut(net: nn.Module, example_BCHW: Tensor) -> list[nn.Module]:
    """Cut the model as finely as possible with exactly its own output."""
    expected = net.forward_features(example_BCHW)
    for steps in _ways_to_cut(net):
        count = _num_steps_to(steps, example_BCHW, expected)
        if count:
            return cut_into_blocks(
                [*steps[:count], _Part(net, "forward_head", besides=steps[:count])]
            )
    features = _Part(net, "forward_features", besides=[getattr(net, "head", nn.Identity())])
    return [features, _Part(net, "forward_head", besides=[features])]


def _ways_to_cut(net: nn.Module) -> Iterator[list[nn.Module]]:
    # A vision transformer: tokens with their positions, then the layers, then the norm.
    if hasattr(net, "patch_embed") and hasattr(net, "_pos_embed"):
        after = [net.blocks, net.norm]
        yield [_TimmTokens(net, besides=after), *unfold(after)]
    yield list(unfold(net.children()))


def _num_steps_to(steps: list[nn.Module], x: Tensor, expected: Tensor) -> int:
    """Return how many of the steps, run one after another, give `expected`, or 0."""
    reached = 0
    for count, step in enumerate(steps, start=1):
        try:
            x = step(x)
        except Exception:  # any error of a module that does not fit this input
            break
        if isinstance(x, Tensor) and torch.equal(x, expected):
            reached = count
    return reached


class _Part(nn.Module):  # type: ignore[misc]  # torch is typed as Any here
    """A method of the network as a module, holding the weights that no other step holds."""

    def __init__(self, net: nn.Module, method: str, besides: Iterable[nn.Module]) -> None:
        super().__init__()
        taken = {id(p) for step in besides for p in step.parameters()}
        for name, parameter in net.named_parameters(recurse=False):
            if id(parameter) not in taken:
                self.register_parameter(name, parameter)
        for name, child in net.named_children():
            if not taken & {id(p) for p in child.parameters()}:
                self.add_module(f"{name}_", child)
        # Not registered as a child, because the network contains this module's weights.
        self.__dict__["net"] = net
        self.method = method

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self.net, self.method)(x)


class _TimmTokens(_Part):
    def __init__(self, net: nn.Module, besides: Iterable[nn.Module]) -> None:
        super().__init__(net, "", [*besides, net.head, net.fc_norm])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        net = self.net
        x_BPD = net._pos_embed(net.patch_embed(x_BCHW))
        for name in ("patch_drop", "norm_pre"):
            x_BPD = getattr(net, name, nn.Identity())(x_BPD)
        return x_BPD
