"""Capture: whether the image of a prediction is kept. One place decides.

The reason is stored with the prediction, so that a correction by id can say what happened to the
image (`core/predictions.py` has the texts).
"""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from core.predictions import LOW_DISK, Prediction
from core.retention.policy import CapturePolicy
from core.review.directions import to_int8
from core.store.free_disk import FreeDisk

_HOUR_S = 3600


def choose(policy: CapturePolicy, prediction: Prediction) -> tuple[bool, str]:
    """Whether the recipe wants the image, and why. The same answer each time."""
    match policy.keep:
        case float(share):
            return (True, "sampled") if _fraction(prediction.id) < share else (False, "not sampled")
        case "doubtful":
            if prediction.unfamiliar:
                return True, "unfamiliar"
            is_doubtful = prediction.margin < policy.doubtful_margin
            return (True, "doubtful") if is_doubtful else (False, "not doubtful")
        case "none":
            return False, "none"
        case _:
            return True, "all"


def _fraction(prediction_id: str) -> float:
    """A number from 0 to below 1. The last bits of a UUIDv7 are random."""
    return int(prediction_id.replace("-", "")[-8:], 16) / 2**32


class Capture:
    """For many threads."""

    def __init__(self, policy: CapturePolicy, disk: FreeDisk, num_processes: int = 1) -> None:
        """`num_processes` of this machine share the hourly limit evenly."""
        self._policy = policy
        self._disk = disk
        limit = policy.max_per_hour
        self._max_per_hour = max(1, limit // num_processes) if limit else 0
        self._hour = 0
        self._num_in_hour = 0
        self._lock = threading.Lock()

    def decide(
        self, prediction: Prediction, num_bytes: int, embedding_D: NDArray[np.float32]
    ) -> Prediction:
        """Return the prediction with the decision on its image of `num_bytes`, and with the
        direction of its embedding if that is kept."""
        is_kept, why = choose(self._policy, prediction)
        if is_kept and not self._disk.has_room:
            is_kept, why = False, LOW_DISK
        if is_kept and not self._is_within_limit(prediction.created_at):
            is_kept, why = False, "hourly limit"
        if not is_kept:
            return replace(prediction, kept_bytes=None, capture=why)
        embedding = to_int8(embedding_D)
        return replace(prediction, kept_bytes=num_bytes, capture=why, embedding=embedding)

    def _is_within_limit(self, now: float) -> bool:
        if not self._max_per_hour:
            return True
        hour = int(now // _HOUR_S)
        with self._lock:
            if hour != self._hour:
                self._hour, self._num_in_hour = hour, 0
            self._num_in_hour += 1
            return self._num_in_hour <= self._max_per_hour
