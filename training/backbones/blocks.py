"""Cutting a network into blocks, ordered from the pixels to the embedding.

Owns what a block is and how finely one is cut; which modules a family runs in which order is in
`training/backbones/torchvision_models.py` and `training/backbones/timm_models.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from torch import nn

from core.inputs.pixels import PixelSpec
from training.backbones.download import Source

#: Layer-wise unfreezing gains nothing from finer steps, and each costs a choice.
MAX_BLOCKS = 20


class Parts(NamedTuple):
    """A library's network without its classifier, in blocks, and what is known about it."""

    net: nn.Module
    blocks: list[nn.Module]
    pixels: PixelSpec
    mean: Sequence[float]
    std: Sequence[float]
    embedding_size: int
    #: How keys begin that a weights file may hold beside the network's own.
    classifier: tuple[str, ...]
    source: Source


def blocks_of(modules: Iterable[nn.Module], limit: int = MAX_BLOCKS) -> list[nn.Module]:
    """Cut what runs one after another into at most `limit` blocks of whole stages.

    A block starts at each module that holds a convolution or a linear map; norms, activations and
    pooling belong to what they follow. Too many are joined evenly, neighbours with neighbours.
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
    """The same computation in smaller steps: containers that only run their children are opened."""
    for module in modules:
        plain = isinstance(module, nn.Sequential) and (
            type(module).forward is nn.Sequential.forward
        )
        if plain or isinstance(module, nn.ModuleList):
            yield from unfold(module)
        else:
            yield module
