"""The file of an activation cache: views of equal size in half precision, memory-mapped.

V views, n numbers of one view.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from core.system.files import allocate, write_whole

_MB = 2**20
# The share of the free disk that a cache may take.
_MAX_SHARE_OF_DISK = 0.8

_NOT_CACHED = "every epoch computes the frozen blocks again"


class CacheFile:
    """Owns `file`, and the file beside it that lists the filled views."""

    def __init__(
        self, file: Path, num_numbers: int, num_views: int, limit_mb: float, rows: str
    ) -> None:
        """Hold as many of `num_views` as fit into `limit_mb` and on the disk.

        `rows` says in notes what is cached, such as "20 photos".
        """
        self._file, self._num_numbers, self._rows = file, num_numbers, rows
        self.notes: list[str] = []
        self.num_views = self._affordable(num_views, limit_mb)
        self._filled: set[int] = set()
        self._stored_Vn = self._open()

    @property
    def num_unfilled(self) -> int:
        return self.num_views - len(self._filled)

    @property
    def megabytes(self) -> float:
        return self.num_views * self._num_numbers * 2 / _MB

    def stored(self, *shape: int) -> NDArray[np.float16] | None:
        """Return the views [V, *shape]. None: nothing is cached."""
        stored_Vn = self._stored_Vn
        return None if stored_Vn is None else stored_Vn.reshape(len(stored_Vn), *shape)

    def is_to_fill(self, view: int) -> bool:
        return view < self.num_views and view not in self._filled

    def mark_filled(self, view: int) -> None:
        assert self._stored_Vn is not None
        self._filled.add(view)
        self._stored_Vn.flush()  # type: ignore[attr-defined]  # a memmap
        write_whole(self._views_file, json.dumps(sorted(self._filled)).encode())

    def give_up(self, why: str) -> None:
        self.notes.append(f"activations are not cached ({why}); {_NOT_CACHED}")
        self.num_views = 0
        self.delete()

    def delete(self) -> None:
        self._stored_Vn = None
        for path in (self._file, self._views_file):
            path.unlink(missing_ok=True)

    @property
    def _views_file(self) -> Path:
        return self._file.with_suffix(".views.json")

    def _affordable(self, wanted: int, limit_mb: float) -> int:
        free_mb = _MAX_SHARE_OF_DISK * shutil.disk_usage(self._file.parent).free / _MB
        if self._file.exists():
            free_mb += self._file.stat().st_size / _MB
        each_mb = self._num_numbers * 2 / _MB
        affordable = min(wanted, int(min(limit_mb, free_mb) / each_mb))
        if affordable < wanted:
            why = f"cache_mb leaves {limit_mb:,.0f}" if limit_mb <= free_mb else "the disk is full"
            self.notes.append(
                f"the activation cache holds {affordable} of {wanted} views of {self._rows} "
                f"({each_mb:,.0f} MB each, {why})" + (f"; {_NOT_CACHED}" if affordable == 0 else "")
            )
        return affordable

    def _open(self) -> NDArray[np.float16] | None:
        if self.num_views == 0:
            return None
        size = 2 * self.num_views * self._num_numbers
        if self._file.exists() and self._file.stat().st_size == size and self._views_file.exists():
            self._filled = set(json.loads(self._views_file.read_text()))
        else:
            self.delete()
            try:
                allocate(self._file, size)
            except OSError as error:
                self.give_up(f"no room for it: {error.strerror}")
                return None
        return np.memmap(self._file, np.float16, "r+", shape=(self.num_views, self._num_numbers))


def to_half(activation: Tensor) -> NDArray[np.float16] | None:
    """Return the activation in half precision, or None if it is too large for that."""
    with np.errstate(over="ignore"):
        half = activation.cpu().numpy().astype(np.float16)
    return half if np.isfinite(half).all() else None
