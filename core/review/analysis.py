"""An analysis: what the trainer found out about each labelled example after a run.

It is a blob in safetensors beside the versions, and may be deleted: the next analysis makes it
again. The file has one tensor for each array of `Analysis`, and `names` as JSON in bytes.

Suffixes: N examples, M points of the map (M <= N).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from core.errors import SpecMismatch

MAX_POINTS = 20_000

_TYPES: dict[str, type[np.generic]] = {
    "example_id_N": np.int64,
    "label_N": np.int32,
    "predicted_N": np.int32,
    "label_probability_N": np.float16,
    "similarity_N": np.float16,
    "is_unfamiliar_N": np.bool_,
    "point_M": np.int32,
    "position_M2": np.float16,
    "is_held_out_N": np.bool_,
}


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """Of all examples that were labelled at the snapshot, by ascending id.

    A training example is scored by a fit that has not seen it, a held-out one by the version.
    """

    # The names that `label_N` and `predicted_N` index.
    names: tuple[str, ...]
    example_id_N: NDArray[np.int64]
    # The label at the snapshot.
    label_N: NDArray[np.int32]
    # The most likely class; -1: not scored.
    predicted_N: NDArray[np.int32]
    # Probability of the label that was given, 0 to 1; NaN: not scored.
    label_probability_N: NDArray[np.float16]
    # Mean cosine to the five nearest references of other near-duplicates; NaN: unknown.
    similarity_N: NDArray[np.float16]
    is_unfamiliar_N: NDArray[np.bool_]
    # Rows of the arrays above that are on the map, and where: -1 to 1.
    point_M: NDArray[np.int32]
    position_M2: NDArray[np.float16]
    # Empty: unknown.
    is_held_out_N: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    def __len__(self) -> int:
        return len(self.example_id_N)

    def to_bytes(self, made_at: float = 0.0) -> bytes:
        """`made_at` makes the file differ from that of an equal analysis, which may be deleted at
        the same moment."""
        tensors: dict[str, NDArray[Any]] = {
            name: np.ascontiguousarray(getattr(self, name), kind) for name, kind in _TYPES.items()
        }
        tensors["names"] = np.frombuffer(json.dumps(self.names).encode(), np.uint8)
        return safetensors.numpy.save(tensors, {"made_at": repr(made_at)})

    @staticmethod
    def from_bytes(content: bytes) -> Analysis:
        """Raises SpecMismatch unless the file is whole."""
        try:
            tensors = safetensors.numpy.load(content)
            names = tuple(map(str, json.loads(tensors.pop("names").tobytes())))
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
            raise SpecMismatch(f"the analysis cannot be read: {error}") from error
        if {name: tensor.dtype.type for name, tensor in tensors.items()} != _TYPES:
            raise SpecMismatch("the analysis has other tensors than this release writes")
        return Analysis(names, **tensors)
