"""What tier `blocks` learns from: the decoded inputs of a run, and their activations.

Images and texts have a room each that implements these protocols. How inputs are stored, varied,
batched and mixed is theirs alone.

N rows, B batch, K classes with training rows. An activation is a tensor [B, ...].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from core.store.blobs import Blobs
from training.backbones.backbone_ref import BackboneRef
from training.blocks.device import Compute
from training.blocks.tail import Tail
from training.recipe import Recipe, TuningRecipe


class Activations(Protocol):
    """Activations at the freeze boundary: computed once for each row and view, then read from disk.

    A view is a variant of every row. A kind of input without variants has one.
    """

    #: What differed from the recipe, such as a cache that was too small.
    notes: list[str]

    def __len__(self) -> int: ...

    @property
    def num_unfilled(self) -> int:
        """How many views are cached, but not yet computed."""

    @property
    def megabytes(self) -> float: ...

    def prepare(self, batch_size: int) -> None:
        """Choose microbatches that fit into memory, for batches of so many rows. Call it while the
        tail is in inference mode."""

    def fill(self, view: int, check: Callable[[], None]) -> None:
        """Compute a view of all rows if it is cached and not filled yet.

        `check` is called between batches, and may raise.
        """

    def views(self, epoch: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Return the view of each row for an epoch, [N]."""

    def microbatches(
        self,
        view_B: NDArray[np.intp],
        at_B: NDArray[np.intp],
        target_BK: Tensor,
        rng: np.random.Generator,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all rows of a batch, in parts that fit into memory, with their targets."""

    def batches(self) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
        """Yield all rows once in their first view, with their positions."""

    def delete(self) -> None: ...


class TuningInputs(Protocol):
    """The decoded inputs of a run, a row each. They may lie on disk."""

    def __len__(self) -> int: ...

    def contents(self) -> Iterator[Any]:
        """Yield all that they hold, as buffers, for the digest of the run."""

    def activations(
        self,
        tail: Tail,
        compute: Compute,
        rows_N: NDArray[np.intp],
        recipe: TuningRecipe,
        file: Path,
        seed: int,
        *,
        is_varied: bool,
        limit_mb: float,
    ) -> Activations:
        """Return the activations of these rows, cached in `file`.

        They vary as the recipe says if `is_varied`. The cache takes at most `limit_mb`.
        """

    def as_int8(
        self, backbone: BackboneRef, blobs: Blobs, on_inputs: Callable[[int], None]
    ) -> BackboneRef:
        """Store the backbone in int8, calibrated on some of these inputs.

        `on_inputs` is called during the work, and may raise. Raises InvalidRequest or SpecMismatch
        if it cannot be quantised.
        """


class InputsWriter(Protocol):
    """Stores decoded inputs, one after the other."""

    def add(self, array: NDArray[Any]) -> None: ...

    def finish(self) -> TuningInputs:
        """Return all that were added."""


@dataclass(frozen=True, slots=True)
class Room:
    """How blocks are tuned for one kind of input."""

    recipe: Callable[[Recipe], TuningRecipe]
    #: For at most so many inputs, in a folder that is there.
    writer: Callable[[Path, int], InputsWriter]
