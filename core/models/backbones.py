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
from core.inputs import kinds
from core.inputs.kind import Array, InputSpec, Reader
from core.models.onnx_sessions import CPU, Sessions, cpu_identity
from core.models.ort_cache import OrtCache
from core.store.blobs import Blobs
from core.system.background import run_idle, run_low, trim_memory
from core.system.host import cuts_products_off

_ANY_SIZE = 0
# A swap waits no longer for an idle CPU before it loads at low priority.
_PATIENCE_S = 0.4
# How far an optimised form may be off, relative to the largest number of the embedding.
_OPTIMISED_TOLERANCE = 1e-3

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Backbone:
    """A batch of decoded inputs -> float32 embedding [B, D].

    With `batch_sizes`, onnxruntime runs batches of these sizes only, if all inputs have one shape:
    others are padded or split.
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
        session = runtime.session(model, is_optimised=is_optimised)
        inputs = {each.name: each.shape for each in session.get_inputs()}
        self._kind = kinds.of_graph(inputs)
        self.is_exact = self._kind.needs_exact_products and cuts_products_off()
        if self.is_exact:  # such a backbone has no probe, so none is optimised
            session = runtime.session(model, is_exact=True)
        self.probe = self._kind.probe([inputs[name] for name in self._kind.onnx_inputs])
        self.providers: list[str] = session.get_providers()
        self._is_on_cpu = self.providers[0] == CPU
        self._metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        self._sessions: dict[int, Any] = {_ANY_SIZE: session}
        if batch_sizes and self._kind.has_fixed_shape:
            smallest, *others = sorted(batch_sizes)
            self._sessions = {smallest: session} | {
                size: runtime.session(model, is_optimised=is_optimised) for size in others
            }
        self._golden: dict[tuple[InputSpec, int], NDArray[np.float32]] = {}
        self._readers: dict[InputSpec, Reader] = {}
        self._warm_up()

    def reader(self, spec: InputSpec) -> Reader:
        """What decodes inputs for this backbone. Raises SpecMismatch."""
        reader = self._readers.get(spec)
        if reader is None:
            reader = self._readers.setdefault(spec, spec.reader(self._metadata))
        return reader

    def embed(self, batch: Array) -> NDArray[np.float32]:
        if _ANY_SIZE not in self._sessions:
            largest = max(self._sessions)
            starts = range(0, len(batch), largest)
            return _joined([self._embed_padded(batch[i : i + largest]) for i in starts])
        if not self._is_on_cpu:
            return self._run(_ANY_SIZE, batch)
        return _joined([self._run(_ANY_SIZE, part) for part in self._kind.runs(batch)])

    def embed_golden(self, spec: InputSpec, seed: int) -> NDArray[np.float32]:
        """Embedding [1, D] of the golden input. Computed once: it would be half of the time that
        a head takes to load on a backbone that is loaded."""
        key = (spec, seed)
        if key not in self._golden:
            self._golden[key] = self.embed(spec.golden(seed))
        return self._golden[key]

    def _embed_padded(self, batch: Array) -> NDArray[np.float32]:
        num = len(batch)
        size = next(size for size in self._sessions if size >= num)
        if size > num:
            padded = np.zeros((size, *batch.shape[1:]), batch.dtype)
            padded[:num] = batch
            batch = padded
        return self._run(size, batch)[:num]

    def _run(self, size: int, batch: Array) -> NDArray[np.float32]:
        return np.asarray(self._sessions[size].run(["embedding"], self._kind.feed(batch))[0])

    def _warm_up(self) -> None:
        """Run each size once: the first run takes longest, and no request is to wait for it."""
        if self.probe is None or _ANY_SIZE in self._sessions:
            return  # the check of the golden output runs it, and says what is wrong
        for size in self._sessions:
            try:
                self._run(size, np.zeros((size, *self.probe.shape[1:]), self.probe.dtype))
            except Exception as error:  # onnxruntime raises its own classes, derived from Exception
                raise SpecMismatch(f"the backbone cannot run {size} inputs: {error}") from error


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
            if self._cache is not None and backbone.probe is not None:
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
                expected_BD = _embed_probe(backbone)
                _check_same(expected_BD, again)
                cache.put(backbone.digest, path, expected_BD)
        except Exception as error:  # onnxruntime raises its own classes, derived from Exception
            log.warning("backbone.not_optimised", extra={"reason": str(error)})

    def session(
        self, model: bytes | Path, *, is_optimised: bool = False, is_exact: bool = False
    ) -> Any:
        return self._sessions.open(model, is_optimised=is_optimised, is_exact=is_exact)

    def head_session(self, model: bytes | Path) -> Any:
        return self._sessions.open_head(model)


def _joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _embed_probe(backbone: Backbone) -> NDArray[np.float32]:
    assert backbone.probe is not None  # others are not optimised
    return backbone.embed(backbone.probe)


def _check_same(expected_BD: NDArray[np.float32], optimised: Backbone) -> None:
    embedding_BD = _embed_probe(optimised)
    if embedding_BD.shape != expected_BD.shape:
        raise SpecMismatch(f"the embedding has the shape {embedding_BD.shape}")
    difference = float(np.abs(embedding_BD - expected_BD).max(initial=0.0))
    if not difference <= _OPTIMISED_TOLERANCE * np.abs(expected_BD).max(initial=0.0):
        raise SpecMismatch(f"the embedding of the probe is off by {difference:.3g}")
