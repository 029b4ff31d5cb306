"""Weights for a backbone by the keys of its library's state dict: read from a file, and matched.

Owns reading them safely, from safetensors or from what a library publishes, and saying what does
not fit. Downloading is `training/backbones/download.py`.
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
        found: dict[str, Tensor] = safetensors.torch.load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise InvalidRequest(
            f"{file} cannot be read as safetensors ({error}); nothing else is read, because a "
            "pickle may run code: save a state dict with safetensors.torch.save_file"
        ) from error
    return found


def read_published(file: Path) -> dict[str, Tensor]:
    """Read what `training.backbones.download.fetch` brought: safetensors, or a library's own
    `.pth`."""
    if file.suffix == ".safetensors":
        return read(file)
    # A pickle, but `weights_only` unpickles no more than tensors and plain containers, and its
    # hash was checked.
    found: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return found


def chosen(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], ignored: tuple[str, ...], file: str
) -> dict[str, Tensor]:
    """Pick from `given` what the network has, as float32.

    What is not a float is part of the architecture or, as BatchNorm's counters are, never read;
    it may be absent, and stays as built. Keys beginning with one of `ignored` may be there.
    Raises InvalidRequest, naming the keys that differ.
    """
    learned = {key for key, tensor in own.items() if tensor.is_floating_point()}
    missing = learned - given.keys()
    unexpected = {k for k in given.keys() - own.keys() if not k.startswith(ignored)}
    shared = learned & given.keys()
    reshaped = {key for key in shared if own[key].shape != given[key].shape}
    problems = [
        *_some("lacks", missing),
        *_some("has beside them", unexpected),
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
