"""The device of a run, its precision, and batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.system.host import available_cores

# Copies of a layer's output: itself, its gradient, and one in the layout of the backend.
COPIES_TO_LEARN = 3
# Without gradients, only the outputs of neighbouring layers are kept.
COPIES_TO_EMBED = 3
_LARGEST_EMBEDDED = 64


def use_half_the_cores() -> None:
    """Limit torch's CPU threads, as idle priority does not protect the CPU's caches."""
    torch.set_num_threads(max(1, available_cores() // 2))


class Compute:
    """A device and its precision.

    On CUDA this is bfloat16 where the hardware has it, else float16 with loss scaling (Micikevicius
    et al. 2018). On the CPU it is float32, or bfloat16 with `half_on_cpu`. On CPUs with AMX,
    bfloat16 is 1.4 times as fast for MobileNetV2, but fine-tuning lost accuracy.
    """

    def __init__(self, device: str = "auto", *, half_on_cpu: bool = False) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self._dtype: torch.dtype | None = None
        if self.device.type == "cuda":
            has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
            self._dtype = torch.bfloat16 if has_bfloat16 else torch.float16
        elif half_on_cpu:
            self._dtype = torch.bfloat16
        is_half = self._dtype is torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=is_half)

    def memory_mb(self, on_cpu_mb: int) -> int:
        """The memory for activations: half of a GPU's, which no other process uses."""
        if self.device.type != "cuda":
            return on_cpu_mb
        return int(torch.cuda.get_device_properties(self.device).total_memory // 2**21)

    def autocast(self) -> AbstractContextManager[Any]:
        enabled = self._dtype is not None
        return torch.autocast(self.device.type, dtype=self._dtype, enabled=enabled)


@contextmanager
def reproducible(compute: Compute, seed: int) -> Iterator[None]:
    """Seed torch's global generators (dropout, stochastic depth), and restore them afterwards."""
    devices = [compute.device] if compute.device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=devices),
        torch.backends.cudnn.flags(benchmark=False, deterministic=True),
    ):
        torch.manual_seed(seed)
        yield


def mix_seed(*numbers: int) -> int:
    """Mix whole numbers >= 0 into one seed of 63 bits."""
    low, high = np.random.SeedSequence(numbers).generate_state(2)
    return (int(high) << 31) ^ int(low)


def learning_batch(tail: nn.Module, activation_1: Tensor, wanted: int, memory_mb: int) -> int:
    """Return the largest microbatch up to `wanted` whose activations fit, or 1 if none does.

    It depends on shapes and not on free memory, because a repeated run must add the same numbers in
    the same order.
    """
    sizes = output_bytes(tail, lambda: tail(activation_1))
    per_image = COPIES_TO_LEARN * sum(sizes)
    return max(1, min(wanted, memory_mb * 2**20 // max(1, per_image)))


def embedding_batch(
    backbone: nn.Module, embed: Callable[[Tensor], Tensor], pixels_1HWC: Tensor, memory_mb: int
) -> int:
    """Return how many images pass the frozen blocks in one batch."""
    sizes = output_bytes(backbone, lambda: embed(pixels_1HWC))
    per_image = COPIES_TO_EMBED * max(sizes, default=4 * pixels_1HWC.numel())
    return max(1, min(_LARGEST_EMBEDDED, memory_mb * 2**20 // per_image))


def output_bytes(module: nn.Module, run: Callable[[], object]) -> list[int]:
    """Return the size of what each layer of the module gives during `run`."""
    sizes: list[int] = []

    def note(_: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel() * output.element_size())

    leaves = [part for part in module.modules() if not any(True for _ in part.children())]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return sizes
