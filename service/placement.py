"""Placement: how many serving processes there are, and which GPU and cores each of them has.

The processes decide by themselves and alike; nobody hands the GPUs out.
"""

from __future__ import annotations

from core.settings import Settings


def num_workers(settings: Settings, num_gpus: int) -> int:
    """A GPU is used best by one process, which batches; the cores by one each."""
    return settings.workers or num_gpus or settings.resolved_workers


def gpu_of(worker_index: int | None, num_gpus: int) -> int:
    """BentoML counts its workers from 1; with more of them than GPUs, they share these evenly."""
    return ((worker_index or 1) - 1) % max(1, num_gpus)


def num_decoding(settings: Settings, num_gpus: int, cores: int) -> int:
    """Threads of one process. One decodes while another one scores; beside a GPU, which scores for
    itself, the cores do nothing else."""
    few = settings.threads + 1
    return max(few, cores // num_workers(settings, num_gpus)) if num_gpus else few
