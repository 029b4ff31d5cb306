"""A servable: a version loaded and ready to answer. The only place that runs onnxruntime.

Versions with the same backbone share its one session, so that a swap of heads costs about a
millisecond and no memory. The challenger is judged by this same code.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

# Set, it keeps onnxruntime from sending usage to its maker and from writing to the home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort
from numpy.typing import NDArray

from core.blobs import Blobs
from core.errors import SpecMismatch
from core.manifest import Golden, Manifest
from core.pixels import PixelSpec

# Convolutions add in another order on other processors and providers.
GOLDEN_TOLERANCE = 0.05
# Rounding magnifies that: a number near the middle of two steps falls to one or to the other. Run
# without integers, as on a GPU, the starter in int8 is off by 0.07.
INT8_GOLDEN_TOLERANCE = 0.2


@dataclass(frozen=True, slots=True)
class Scores:
    """B images, D numbers of the embedding, K classes; all float32."""

    embedding_BD: NDArray[np.float32]
    logits_BK: NDArray[np.float32]
    probabilities_BK: NDArray[np.float32]


class Backbone:
    """uint8 pixels [B, H, W, 3] -> float32 embedding [B, D]."""

    def __init__(self, content: bytes, digest: str, runtime: Runtime) -> None:
        self.digest = digest
        self._session = runtime.session(content)
        self.providers: list[str] = self._session.get_providers()

    def embed(self, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(self._session.run(["embedding"], {"pixels": pixels_BHWC})[0])


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

    def __init__(self, provider: str = "auto", threads: int = 1) -> None:
        self._providers = _choose_providers(provider)
        self._threads = threads
        # A backbone stays as long as a servable uses it, and no longer.
        self._backbones: weakref.WeakValueDictionary[str, Backbone] = weakref.WeakValueDictionary()

    @property
    def provider(self) -> str:
        return self._providers[0]

    def backbone(self, digest: str, blobs: Blobs) -> Backbone:
        found = self._backbones.get(digest)
        if found is None:
            found = Backbone(blobs.get(digest), digest, self)
            self._backbones[digest] = found
        return found

    def session(self, content: bytes, *, on_cpu: bool = False) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # A waiting thread that spins takes the core from another worker.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"] if on_cpu else self._providers
        try:
            return ort.InferenceSession(content, options, providers=providers)
        except Exception as error:  # onnxruntime raises its own classes, derived from Exception
            raise SpecMismatch(f"onnxruntime cannot load the model: {error}") from error


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
    logits_BK, _ = head.score(backbone.embed(golden_pixels(spec, seed)))
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
        scores = servable.predict(golden_pixels(manifest.pixels, manifest.golden.seed))
    except Exception as error:  # onnxruntime raises its own classes, derived from Exception
        raise SpecMismatch(
            f"the files of version {manifest.version} do not fit together: {error}"
        ) from error
    expected = np.asarray(manifest.golden.logits, np.float32)
    if scores.logits_BK.shape != (1, len(expected)):
        raise SpecMismatch(
            f"version {manifest.version} gives logits of shape {scores.logits_BK.shape}, "
            f"its golden output has {len(expected)}; train again"
        )
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    difference = float(np.abs(scores.logits_BK[0] - expected).max(initial=0.0)) / scale
    limit = GOLDEN_TOLERANCE if manifest.precision == "float32" else INT8_GOLDEN_TOLERANCE
    if not difference <= limit:  # also false for NaN
        raise SpecMismatch(
            f"version {manifest.version} does not reproduce its golden output: it is off by "
            f"{difference:.3g} of its scale, the limit is {limit}; train again"
        )


def _choose_providers(wanted: str) -> list[str]:
    has_cuda = "CUDAExecutionProvider" in ort.get_available_providers()
    if wanted == "cpu" or not has_cuda or (wanted == "auto" and _num_gpus() == 0):
        return ["CPUExecutionProvider"]
    # Finds the CUDA libraries that pip installed, if they are not on the system's path.
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def _num_gpus() -> int:
    """Asks the driver itself: onnxruntime lists CUDA also where there is no GPU."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return 0
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
