"""A servable: a version that is loaded and ready to predict.

The gate judges the challenger with the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import NoClasses, SpecMismatch
from core.inputs.kind import Array, InputSpec
from core.models.backbones import Backbone, Runtime
from core.models.manifest import Golden, Manifest
from core.models.references import References
from core.store.blobs import Blobs

# Convolutions add in another order on other CPUs and providers.
GOLDEN_TOLERANCE = 0.05
# Rounding magnifies that: a number near the middle of two steps may fall to either. On a GPU, which
# runs int8 without integers, the starter is off by 0.07.
INT8_GOLDEN_TOLERANCE = 0.2


@dataclass(frozen=True, slots=True)
class Scores:
    """B inputs, D numbers of the embedding, K classes."""

    embedding_BD: NDArray[np.float32]
    logits_BK: NDArray[np.float32]
    probabilities_BK: NDArray[np.float32]
    # Whether an image is unlike everything labelled; None: the version has no references.
    unfamiliar_B: NDArray[np.bool_] | None = None

    def part(self, start: int, stop: int) -> Scores:
        return Scores(
            self.embedding_BD[start:stop],
            self.logits_BK[start:stop],
            self.probabilities_BK[start:stop],
            None if self.unfamiliar_B is None else self.unfamiliar_B[start:stop],
        )

    @staticmethod
    def join(parts: Sequence[Scores]) -> Scores:
        """Join the scores of one version."""
        unfamiliar = [part.unfamiliar_B for part in parts if part.unfamiliar_B is not None]
        return Scores(
            np.concatenate([part.embedding_BD for part in parts]),
            np.concatenate([part.logits_BK for part in parts]),
            np.concatenate([part.probabilities_BK for part in parts]),
            np.concatenate(unfamiliar) if unfamiliar else None,
        )


def likeliest(scores_BK: NDArray[np.float32]) -> NDArray[np.intp]:
    """The class with the largest score; -1 where there are no classes."""
    if scores_BK.shape[1] == 0:
        return np.full(len(scores_BK), -1, np.intp)
    return np.asarray(scores_BK.argmax(axis=1))


class HeadSession:
    """float32 embedding [B, D] -> logits and probabilities [B, K]."""

    def __init__(self, model: bytes | Path, runtime: Runtime) -> None:
        self._session = runtime.head_session(model)
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


class Servable:
    def __init__(
        self,
        manifest: Manifest,
        backbone: Backbone,
        head: HeadSession,
        references: References | None = None,
    ) -> None:
        self.manifest = manifest
        self.backbone = backbone
        self.references = references
        self.reader = backbone.reader(manifest.input_spec)
        self._head = head

    @property
    def version(self) -> int:
        return self.manifest.version

    def predict(self, batch: Array) -> Scores:
        """The scores of a batch of decoded inputs. Raises NoClasses."""
        if not self.manifest.classes:
            raise NoClasses(
                f"version {self.version} knows no classes yet: label two inputs or more of each of "
                "two classes, with POST /v1/feedback, `evergreen import` or `evergreen label`. A "
                "new home predicts by the names of classes alone after `evergreen init --classes`"
            )
        embedding_BD = self.backbone.embed(batch)
        unfamiliar_B = None
        if self.references is not None:
            unfamiliar_B = self.references.are_unfamiliar(embedding_BD)
        return Scores(embedding_BD, *self._head.score(embedding_BD), unfamiliar_B)

    def score(
        self, embedding_BD: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self._head.score(embedding_BD)


def load(
    manifest: Manifest, blobs: Blobs, runtime: Runtime, *, with_references: bool = True
) -> Servable:
    """Load, verify and warm up.

    Without its references, a version takes less memory and cannot say what is unfamiliar. Raises
    BlobMissing, ChecksumMismatch, SpecMismatch or StoreError; the version must then not serve.
    """
    head = load_head(manifest, blobs, runtime)
    backbone = runtime.backbone(manifest.backbone, blobs)
    references = None
    if with_references and manifest.references is not None:
        content = blobs.get(manifest.references, keep=True)
        references = References.from_bytes(content, manifest.embedding_size)
    servable = Servable(manifest, backbone, head, references)
    _check_golden(servable)
    return servable


def load_head(manifest: Manifest, blobs: Blobs, runtime: Runtime) -> HeadSession:
    """Load the head alone, for embeddings that are there already.

    Raises BlobMissing, ChecksumMismatch, SpecMismatch or StoreError.
    """
    with blobs.file(manifest.head) as path:
        head = HeadSession(path, runtime)
    if head.num_classes != len(manifest.classes):
        raise SpecMismatch(
            f"head.onnx of version {manifest.version} has {head.num_classes} outputs, "
            f"its manifest {len(manifest.classes)} classes; train again"
        )
    return head


def golden(backbone: Backbone, head: HeadSession, spec: InputSpec, seed: int = 0) -> Golden:
    logits_BK, _ = head.score(backbone.embed_golden(spec, seed))
    return Golden(seed, tuple(round(float(value), 6) for value in logits_BK[0]))


def _check_golden(servable: Servable) -> None:
    manifest = servable.manifest
    try:
        embedding_BD = servable.backbone.embed_golden(manifest.input_spec, manifest.golden.seed)
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
