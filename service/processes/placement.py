"""Placement: the number of workers, and the GPU and the threads of each.

Every worker calculates this for itself, from the same settings.
"""

from __future__ import annotations

from core.settings import Settings


def num_workers(settings: Settings, num_gpus: int) -> int:
    """One worker per GPU, as it batches; without a GPU one per core."""
    return settings.workers or num_gpus or settings.resolved_workers


def gpu_of(worker_index: int | None, num_gpus: int) -> int:
    """The GPU of a worker. BentoML counts workers from 1; they share the GPUs evenly."""
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
