"""Reads the weights of a backbone from a file, and matches them by the library's keys.

Reads safetensors, or a library's published file, without running code. Downloading is in
`training/backbones/download.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from core.errors import InvalidRequest

_SHOWN = 3


def read(file: Path) -> dict[str, Tensor]:
    """Read every tensor of a `.safetensors` file. Raises InvalidRequest if it is not one."""
    try:
        weights: dict[str, Tensor] = safetensors.torch.load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise InvalidRequest(
            f"{file} cannot be read as safetensors ({error}); nothing else is read, because a "
            "pickle may run code: save a state dict with safetensors.torch.save_file"
        ) from error
    return weights


def read_published(file: Path) -> dict[str, Tensor]:
    """Read a file from `training.backbones.download.fetch`: safetensors, or a library's `.pth`."""
    if file.suffix == ".safetensors":
        return read(file)
    # A pickle whose hash was checked. `weights_only` reads only tensors and plain containers.
    weights: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return weights


def select(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], ignored: tuple[str, ...], file: str
) -> dict[str, Tensor]:
    """Return the weights of the network from `given`, as float32.

    Integer tensors are part of the architecture or, as BatchNorm's counters, never read. They may
    be absent, and stay as built. Keys that start with one of `ignored` may be present. Raises
    InvalidRequest, which names the keys that differ.
    """
    learned = {key for key, tensor in own.items() if tensor.is_floating_point()}
    missing = learned - given.keys()
    unexpected = {k for k in given.keys() - own.keys() if not k.startswith(ignored)}
    shared = learned & given.keys()
    reshaped = {key for key in shared if own[key].shape != given[key].shape}
    problems = [
        *_some("lacks", missing),
        *_some("also has", unexpected),
        *(
            f"has {key} of shape {tuple(given[key].shape)} instead of {tuple(own[key].shape)}"
            for key in sorted(reshaped)[:_SHOWN]
        ),
    ]
    if problems:
        raise InvalidRequest(
            f"{file} holds {len(given)} tensors, but not those of this backbone: "
            f"it {'; it '.join(problems)}"
        )
    return {key: given[key].to(torch.float32) for key in shared}


def tensors(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """Turn numpy arrays into tensors of their own memory."""
    return {name: torch.tensor(array) for name, array in arrays.items()}


def _some(what: str, keys: Iterable[str]) -> list[str]:
    listed = sorted(keys)
    if not listed:
        return []
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return [f"{what} {', '.join(listed[:_SHOWN])}{more}"]
