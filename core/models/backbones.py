"""Backbones that are loaded, and the runtime that holds those of this process.

Versions with the same backbone share its onnxruntime session, so swapping heads takes about a
millisecond and no memory.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.errors import SpecMismatch
from core.inputs.pixels.decoding import PixelSpec
from core.models.onnx_sessions import Sessions, cpu_identity
from core.models.ort_cache import OrtCache
from core.store.blobs import Blobs
from core.system.background import run_idle, run_low, trim_memory

_ANY_SIZE = 0
# A swap waits no longer for an idle CPU before it loads at low priority.
_PATIENCE_S = 0.4
# How far an optimised form may be off, relative to the largest number of the embedding.
_OPTIMISED_TOLERANCE = 1e-3

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Backbone:
    """uint8 pixels [B, H, W, 3] -> float32 embedding [B, D].

    With `batch_sizes`, onnxruntime runs batches of these sizes only: others are padded or split.
    Each size has a session of its own, and a copy of the weights. The CUDA provider keeps the plan
    of a convolution for the shape of its last run, and a new plan takes 16 ms (see
    `core/models/onnx_sessions.py`).
    """

    def __init__(
        self,
        model: bytes | Path,
        digest: str,
        runtime: Runtime,
        batch_sizes: Sequence[int] = (),
        *,
        is_optimised: bool = False,
    ) -> None:
        self.digest = digest
        sizes = sorted(batch_sizes) or [_ANY_SIZE]
        self._sessions: dict[int, Any] = {
            size: runtime.session(model, is_optimised=is_optimised) for size in sizes
        }
        self.providers: list[str] = next(iter(self._sessions.values())).get_providers()
        shape = next(iter(self._sessions.values())).get_inputs()[0].shape
        # None: the graph takes images of any size.
        self.size_px = shape[1] if len(shape) == 4 and isinstance(shape[1], int) else None
        self._golden: dict[tuple[int, int], NDArray[np.float32]] = {}
        self._warm_up()

    def embed(self, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        if _ANY_SIZE in self._sessions:
            return self._run(_ANY_SIZE, pixels_BHWC)
        largest = max(self._sessions)
        parts = [
            self._embed_padded(pixels_BHWC[start : start + largest])
            for start in range(0, len(pixels_BHWC), largest)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def embed_golden(self, spec: PixelSpec, seed: int) -> NDArray[np.float32]:
        """Embedding [1, D] of the golden pixels. Computed once: it would be half of the time that
        a head takes to load on a backbone that is loaded."""
        key = (spec.size_px, seed)
        if key not in self._golden:
            self._golden[key] = self.embed(golden_pixels(spec, seed))
        return self._golden[key]

    def _embed_padded(self, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        num = len(pixels_BHWC)
        size = next(size for size in self._sessions if size >= num)
        if size > num:
            padded_BHWC = np.zeros((size, *pixels_BHWC.shape[1:]), np.uint8)
            padded_BHWC[:num] = pixels_BHWC
            pixels_BHWC = padded_BHWC
        return self._run(size, pixels_BHWC)[:num]

    def _run(self, size: int, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(self._sessions[size].run(["embedding"], {"pixels": pixels_BHWC})[0])

    def _warm_up(self) -> None:
        """Run each size once: the first run takes longest, and no request is to wait for it."""
        for size, session in self._sessions.items():
            shape = session.get_inputs()[0].shape
            if size == _ANY_SIZE or not all(isinstance(length, int) for length in shape[1:]):
                continue  # the check of the golden output runs it, and says what is wrong
            try:
                self._run(size, np.zeros((size, *shape[1:]), np.uint8))
            except Exception as error:  # onnxruntime raises its own classes, derived from Exception
                raise SpecMismatch(f"the backbone cannot run {size} images: {error}") from error


class Runtime:
    """How onnxruntime is used in this process, and the backbones that it holds."""

    def __init__(
        self,
        provider: str = "auto",
        threads: int = 1,
        *,
        gpu: int = 0,
        batch_sizes: Sequence[int] = (),
        cache: Path | None = None,
    ) -> None:
        """Backbones run with these `batch_sizes` on a GPU, and with any on a CPU. Their optimised
        forms are kept in `ort/` of the folder `cache`; None: nowhere."""
        self._sessions = Sessions(provider, threads, gpu)
        self._threads = threads
        self._batch_sizes = batch_sizes if self.is_on_gpu else ()
        machine = None if self.is_on_gpu else cpu_identity()
        self._cache = OrtCache(cache / "ort", machine) if cache and machine else None
        # A backbone stays loaded while a servable uses it.
        self._backbones: weakref.WeakValueDictionary[str, Backbone] = weakref.WeakValueDictionary()

    @property
    def provider(self) -> str:
        return self._sessions.provider

    @property
    def is_on_gpu(self) -> bool:
        return self._sessions.is_on_gpu

    def backbone(self, digest: str, blobs: Blobs) -> Backbone:
        """Return the backbone, and load it if this process has not, from its optimised form if the
        cache has one. Raises ChecksumMismatch, SpecMismatch or StoreError."""
        backbone = self._backbones.get(digest)
        if backbone is None:
            # Another thread may have loaded it meanwhile: one is kept.
            backbone = self._backbones.setdefault(digest, self._load(digest, blobs))
        return backbone

    def run_in_background(self, work: Callable[[], Result]) -> Result:
        """Load or drop models with the CPU time that predictions leave; returns what the work
        returns, or raises what it raises."""
        if self._threads > 1:
            return work()  # the threads that onnxruntime starts would keep that priority for good
        if self.is_on_gpu:
            return run_low(work)  # an idle thread might hold a lock of the driver
        return run_idle(work, patience_s=_PATIENCE_S)

    def has_backbone(self, digest: str) -> bool:
        return digest in self._backbones

    def _load(self, digest: str, blobs: Blobs) -> Backbone:
        if self._cache is not None:
            cached = self._load_optimised(digest, self._cache)
            if cached is not None:
                return cached
        with blobs.file(digest) as path:
            backbone = Backbone(path, digest, self, self._batch_sizes)
            if self._cache is not None and backbone.size_px is not None:
                self._optimise(path, backbone, self._cache)
                trim_memory()  # its sessions were as large as the backbone
        return backbone

    def _load_optimised(self, digest: str, cache: OrtCache) -> Backbone | None:
        form = cache.get(digest)
        if form is None:
            return None
        try:
            backbone = Backbone(form.path, digest, self, is_optimised=True)
            _check_same(form.golden_BD, backbone)
        except Exception as error:  # onnxruntime raises its own classes, derived from Exception
            log.warning("backbone.optimised_unreadable", extra={"error": str(error)})
            cache.remove(digest)
            return None
        return backbone

    def _optimise(self, model: Path, backbone: Backbone, cache: OrtCache) -> None:
        """Cache the optimised form, which loads in half of the time. Where that fails, this and
        every other process loads the backbone itself."""
        try:
            with cache.scratch() as path:
                self._sessions.optimise(model, path)
                again = Backbone(path, backbone.digest, self, is_optimised=True)
                _check_same(_golden(backbone), again)
                cache.put(backbone.digest, path, _golden(backbone))
        except Exception as error:  # onnxruntime raises its own classes, derived from Exception
            log.warning("backbone.not_optimised", extra={"reason": str(error)})

    def session(self, model: bytes | Path, *, is_optimised: bool = False) -> Any:
        return self._sessions.open(model, is_optimised=is_optimised)

    def head_session(self, model: bytes | Path) -> Any:
        return self._sessions.open_head(model)


def _golden(backbone: Backbone) -> NDArray[np.float32]:
    return backbone.embed_golden(PixelSpec(size_px=backbone.size_px or 0), 0)


def _check_same(expected_BD: NDArray[np.float32], optimised: Backbone) -> None:
    embedding_BD = _golden(optimised)
    if embedding_BD.shape != expected_BD.shape:
        raise SpecMismatch(f"the embedding has the shape {embedding_BD.shape}")
    difference = float(np.abs(embedding_BD - expected_BD).max(initial=0.0))
    if not difference <= _OPTIMISED_TOLERANCE * np.abs(expected_BD).max(initial=0.0):
        raise SpecMismatch(f"the embedding of the golden pixels is off by {difference:.3g}")


def golden_pixels(spec: PixelSpec, seed: int) -> NDArray[np.uint8]:
    """Noise, shape [1, size, size, 3], the same on every machine.

    It is the raw bit stream. A numpy Generator may change what it makes of that between releases
    (NEP 19).
    """
    num = spec.size_px * spec.size_px * 3
    raw = np.random.PCG64(seed).random_raw(-(-num // 8)).astype("<u8")
    return raw.view(np.uint8)[:num].reshape(1, spec.size_px, spec.size_px, 3)
