"""Checkpoints of a run: one safetensors file that is either complete or absent. No pickle.

The tensors are weights and the optimiser's moments. All else is JSON in the file's header. Random
numbers need no state, because every epoch seeds its generator by the run and the epoch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from core.system.files import writing_whole

_FACTS = "facts"
_RUN = "run"


def save(path: Path, run: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Replace the checkpoint of the run whose digest is `run`."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with writing_whole(path, durable=True) as unfinished:
        save_file(on_cpu, unfinished, {_RUN: run, _FACTS: json.dumps(facts)})


def load(path: Path, run: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the checkpoint. Returns None if there is none, or if it is damaged or another run's."""
    try:
        with safetensors.safe_open(path, "pt") as opened:
            header = opened.metadata() or {}
            if header.get(_RUN) != run:
                return None
            return {name: opened.get_tensor(name) for name in opened.keys()}, json.loads(  # noqa: SIM118
                header[_FACTS]
            )
    except (OSError, safetensors.SafetensorError):
        return None


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `prefixed`."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's moments, named by the position of their parameter."""
    state = optimizer.state_dict()["state"]
    return {f"{at}.{name}": value for at, held in state.items() for name, value in held.items()}


def load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        at, key = name.split(".", 1)
        state.setdefault(int(at), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    # Fused optimisers pair weights and moments by their place in memory, so both need one layout.
    # Tensors from a file are contiguous, and weights may be channels_last.
    for parameter, held in optimizer.state.items():
        for key, value in held.items():
            if value.shape == parameter.shape:
                held[key] = torch.empty_like(parameter).copy_(value)
