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
    """Images that one process computes in parallel: its share of the cores.

    More threads would only take turns. With a GPU there are two, so that one image is decoded while
    the pixels of another are scored.
    """
    return max(2 if num_gpus else 1, cores // num_workers(settings, num_gpus))


def is_store_remote(settings: Settings) -> bool:
    return bool(settings.database_url or settings.blob_url)


def num_io_threads(settings: Settings, *, is_batching: bool) -> int:
    """Threads of one process that record predictions in the database and the blob store.

    There are none where both are embedded, because the compute thread then records.
    A remote store takes much longer than a prediction, and the cores stay busy meanwhile. With the
    batcher there are two, because scored images must not queue behind images to decode.
    """
    if is_store_remote(settings):
        return 16
    return 2 if is_batching else 0
