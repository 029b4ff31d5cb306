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


def num_compute_threads(settings: Settings, num_gpus: int, cores: int) -> int:
    """Images that one process decodes, and scores where there is no GPU, at once: its share of the
    cores. More would only take turns on them, and each be done later. Beside a GPU, which scores
    for itself, one image is decoded while another's pixels are on their way."""
    return max(2 if num_gpus else 1, cores // num_workers(settings, num_gpus))


def num_io_threads(settings: Settings, *, is_batching: bool) -> int:
    """Threads of one process that keep what was computed, in the database and the blob store; none
    if they are embedded, which answers at once, and who computes does it. What is elsewhere takes
    much longer than a prediction, and the cores go on meanwhile. With the batcher, what is scored
    is not to wait behind all that is yet to be decoded."""
    if settings.database_url or settings.blob_url:
        return 16
    return 2 if is_batching else 0
