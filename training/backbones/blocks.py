"""Cuts a network into blocks, ordered from the pixels to the embedding.

Owns what a block is. The order in which a family runs its modules is in
`training/backbones/images/torchvision_models.py` and `training/backbones/images/timm_models.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from torch import nn

from core.inputs.pixels.decoding import PixelSpec
from training.backbones.download import Source

#: Unfreezing by layer gains nothing from more blocks.
MAX_BLOCKS = 20


class Parts(NamedTuple):
    """A library's network without its classifier, its blocks, and its input and output."""

    net: nn.Module
    blocks: list[nn.Module]
    pixels: PixelSpec
    mean: Sequence[float]
    std: Sequence[float]
    embedding_size: int
    #: Prefixes of keys that a weights file may hold beside the network's own.
    classifier: tuple[str, ...]
    source: Source


def cut_into_blocks(modules: Iterable[nn.Module], limit: int = MAX_BLOCKS) -> list[nn.Module]:
    """Cut modules that run one after another into at most `limit` blocks.

    A block starts at each module that holds a convolution or a linear map. Norms, activations and
    pooling belong to the block before them. If there are too many blocks, neighbours are joined
    evenly.
    """
    runs: list[list[nn.Module]] = []
    for module in unfold(modules):
        if not runs or any(parameter.ndim > 1 for parameter in module.parameters()):
            runs.append([])
        runs[-1].append(module)
    size = -(-len(runs) // limit)
    joined = [list(chain(*runs[i : i + size])) for i in range(0, len(runs), size)]
    return [run[0] if len(run) == 1 else nn.Sequential(*run) for run in joined]


def unfold(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield the modules, with plain containers replaced by their children."""
    for module in modules:
        is_plain = isinstance(module, nn.Sequential) and (
            type(module).forward is nn.Sequential.forward
        )
        if is_plain or isinstance(module, nn.ModuleList):
            yield from unfold(module)
        else:
            yield module
