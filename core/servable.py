"""A servable: a version loaded and ready to answer.

Versions with the same backbone share its sessions, so that a swap of heads costs about a
millisecond and no memory. The challenger is judged by this same code.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.blobs import Blobs
from core.errors import SpecMismatch
from core.manifest import Golden, Manifest
from core.pixels import PixelSpec
from core.sessions import Sessions

# Convolutions add in another order on other processors and providers.
GOLDEN_TOLERANCE = 0.05
# Rounding magnifies that: a number near the middle of two steps falls to one or to the other. Run
# without integers, as on a GPU, the starter in int8 is off by 0.07.
INT8_GOLDEN_TOLERANCE = 0.2
_ANY_SIZE = 0


@dataclass(frozen=True, slots=True)
class Scores:
    """B images, D numbers of the embedding, K classes; all float32."""

    embedding_BD: NDArray[np.float32]
    logits_BK: NDArray[np.float32]
    probabilities_BK: NDArray[np.float32]

    def part(self, start: int, stop: int) -> Scores:
        return Scores(
            self.embedding_BD[start:stop],
            self.logits_BK[start:stop],
            self.probabilities_BK[start:stop],
        )

    @staticmethod
    def join(parts: Sequence[Scores]) -> Scores:
        return Scores(
            np.concatenate([part.embedding_BD for part in parts]),
            np.concatenate([part.logits_BK for part in parts]),
            np.concatenate([part.probabilities_BK for part in parts]),
        )


class Backbone:
    """uint8 pixels [B, H, W, 3] -> float32 embedding [B, D].

    With `batch_sizes`, onnxruntime sees batches of these sizes only: others are filled up, or cut.
    Each size has a session of its own, because the CUDA provider keeps the plan of a convolution
    for the shape of its last run and makes a new one for any other: even two sizes that take turns
    would cost 16 ms each time (see `core/sessions.py`). Weights are held so many times.
    """

    def __init__(
        self, content: bytes, digest: str, runtime: Runtime, batch_sizes: Sequence[int] = ()
    ) -> None:
        self.digest = digest
        sizes = sorted(batch_sizes) or [_ANY_SIZE]
        self._sessions: dict[int, Any] = {size: runtime.session(content) for size in sizes}
        self.providers: list[str] = next(iter(self._sessions.values())).get_providers()
        self._golden: dict[tuple[PixelSpec, int], NDArray[np.float32]] = {}
        self._warm_up()

    def embed(self, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        if _ANY_SIZE in self._sessions:
            return self._run(_ANY_SIZE, pixels_BHWC)
        largest = max(self._sessions)
        parts = [
            self._embed_filled_up(pixels_BHWC[start : start + largest])
            for start in range(0, len(pixels_BHWC), largest)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def embed_golden(self, spec: PixelSpec, seed: int) -> NDArray[np.float32]:
        """Embedding [1, D] of the golden pixels. Run once: it is half of the time that loading a
        head on a backbone that is loaded would take."""
        found = self._golden.get((spec, seed))
        if found is None:
            found = self._golden[spec, seed] = self.embed(golden_pixels(spec, seed))
        return found

    def _embed_filled_up(self, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        num = len(pixels_BHWC)
        size = next(size for size in self._sessions if size >= num)
        if size > num:
            filled = np.zeros((size, *pixels_BHWC.shape[1:]), np.uint8)
            filled[:num] = pixels_BHWC
            pixels_BHWC = filled
        return self._run(size, pixels_BHWC)[:num]

    def _run(self, size: int, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(self._sessions[size].run(["embedding"], {"pixels": pixels_BHWC})[0])

    def _warm_up(self) -> None:
        """The first run of a size takes longest; it is not to be a request's."""
        for size, session in self._sessions.items():
            shape = session.get_inputs()[0].shape
            if size == _ANY_SIZE or not all(isinstance(length, int) for length in shape[1:]):
                continue  # checking the golden output will do, and say what is wrong
            try:
                self._run(size, np.zeros((size, *shape[1:]), np.uint8))
            except Exception as error:  # onnxruntime raises its own classes, of Exception
                raise SpecMismatch(f"the backbone cannot run {size} images: {error}") from error


class HeadSession:
    """float32 embedding [B, D] -> logits and probabilities [B, K]."""

    def __init__(self, content: bytes, runtime: Runtime) -> None:
        self._session = runtime.session(content, on_cpu=True)
        shape = self._session.get_outputs()[0].shape
        if not shape or not isinstance(shape[-1], int):
            raise SpecMismatch(f"head.onnx has outputs of shape {shape}; the classes must be fixed")
        self.num_classes: int = shape[-1]

    def score(
        self, embedding_BD: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits, probabilities = self._session.run(
            ["logits", "probabilities"], {"embedding": embedding_BD}
        )
        return np.asarray(logits), np.asarray(probabilities)


class Runtime:
    """How onnxruntime is used in this process, and the backbones that it holds."""

    def __init__(
        self,
        provider: str = "auto",
        threads: int = 1,
        *,
        gpu: int = 0,
        batch_sizes: Sequence[int] = (),
    ) -> None:
        """`batch_sizes` are those that backbones are to run with on a GPU."""
        self._sessions = Sessions(provider, threads, gpu)
        self._batch_sizes = batch_sizes if self.is_on_gpu else ()
        # A backbone stays as long as a servable uses it, and no longer.
        self._backbones: weakref.WeakValueDictionary[str, Backbone] = weakref.WeakValueDictionary()

    @property
    def provider(self) -> str:
        return self._sessions.provider

    @property
    def is_on_gpu(self) -> bool:
        return self._sessions.is_on_gpu

    def backbone(self, digest: str, blobs: Blobs) -> Backbone:
        found = self._backbones.get(digest)
        if found is None:
            found = Backbone(blobs.get(digest), digest, self, self._batch_sizes)
            self._backbones[digest] = found
        return found

    def session(self, content: bytes, *, on_cpu: bool = False) -> Any:
        return self._sessions.open(content, on_cpu=on_cpu)


class Servable:
    def __init__(self, manifest: Manifest, backbone: Backbone, head: HeadSession) -> None:
        self.manifest = manifest
        self.backbone = backbone
        self._head = head

    @property
    def version(self) -> int:
        return self.manifest.version

    def predict(self, pixels_BHWC: NDArray[np.uint8]) -> Scores:
        embedding_BD = self.backbone.embed(pixels_BHWC)
        return Scores(embedding_BD, *self._head.score(embedding_BD))

    def score(
        self, embedding_BD: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self._head.score(embedding_BD)


def load(manifest: Manifest, blobs: Blobs, runtime: Runtime) -> Servable:
    """Load, verify and warm up.

    Raises ChecksumMismatch, SpecMismatch or StoreError; the version must then not serve.
    """
    head = HeadSession(blobs.get(manifest.head), runtime)
    if head.num_classes != len(manifest.classes):
        raise SpecMismatch(
            f"head.onnx of version {manifest.version} has {head.num_classes} outputs, "
            f"its manifest {len(manifest.classes)} classes; train again"
        )
    servable = Servable(manifest, runtime.backbone(manifest.backbone, blobs), head)
    _check_golden(servable)
    return servable


def golden(backbone: Backbone, head: HeadSession, spec: PixelSpec, seed: int = 0) -> Golden:
    logits_BK, _ = head.score(backbone.embed_golden(spec, seed))
    return Golden(seed, tuple(round(float(value), 6) for value in logits_BK[0]))


def golden_pixels(spec: PixelSpec, seed: int) -> NDArray[np.uint8]:
    """Noise, shape [1, size, size, 3], the same on every machine.

    The raw stream: what a numpy Generator makes of it may change between releases (NEP 19).
    """
    num = spec.size_px * spec.size_px * 3
    raw = np.random.PCG64(seed).random_raw(-(-num // 8)).astype("<u8")
    return raw.view(np.uint8)[:num].reshape(1, spec.size_px, spec.size_px, 3)


def _check_golden(servable: Servable) -> None:
    manifest = servable.manifest
    try:
        embedding_BD = servable.backbone.embed_golden(manifest.pixels, manifest.golden.seed)
        logits_BK, _ = servable.score(embedding_BD)
    except Exception as error:  # onnxruntime raises its own classes, derived from Exception
        raise SpecMismatch(
            f"the files of version {manifest.version} do not fit together: {error}"
        ) from error
    expected = np.asarray(manifest.golden.logits, np.float32)
    if logits_BK.shape != (1, len(expected)):
        raise SpecMismatch(
            f"version {manifest.version} gives logits of shape {logits_BK.shape}, "
            f"its golden output has {len(expected)}; train again"
        )
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    difference = float(np.abs(logits_BK[0] - expected).max(initial=0.0)) / scale
    limit = GOLDEN_TOLERANCE if manifest.precision == "float32" else INT8_GOLDEN_TOLERANCE
    if not difference <= limit:  # also false for NaN
        raise SpecMismatch(
            f"version {manifest.version} does not reproduce its golden output: it is off by "
            f"{difference:.3g} of its scale, the limit is {limit}; train again"
        )
