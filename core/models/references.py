"""The references of a version: embeddings of labelled images, which show what is familiar.

An image is unfamiliar if its mean cosine similarity to the five nearest references is below a
threshold. All cosines are taken in a few principal directions of the references, which makes them
cheap. The image keeps its full length: what lies outside of these directions makes it less similar.

They are the optional third file of a version, in safetensors. The file has `basis` [D, R] and
`references` [N, R] in float16, and `threshold` [1] in float32.

N references, B images, D embedding, R directions (R <= D).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from core.errors import SpecMismatch

FILE_NAME = "references.safetensors"
MAX_REFERENCES = 20_000
NUM_NEIGHBOURS = 5

_TENSORS = {"basis": np.float16, "references": np.float16, "threshold": np.float32}
# Float16 rounds each of the numbers.
_MAX_LENGTH = 1.01
# Less than the length of any embedding but a row of zeros, which is similar to nothing.
_SHORTEST = 1e-12

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class References:
    # Orthonormal columns.
    basis_DR: Floats
    # Parts of vectors of length 1.
    references_NR: Floats
    threshold: float

    def __len__(self) -> int:
        return len(self.references_NR)

    def are_unfamiliar(self, embedding_BD: Floats) -> NDArray[np.bool_]:
        unfamiliar_B: NDArray[np.bool_] = self.similarity(embedding_BD) < self.threshold
        return unfamiliar_B

    def similarity(self, embedding_BD: Floats) -> Floats:
        """Return the mean cosine to the five nearest references."""
        cosine_BN = project(embedding_BD, self.basis_DR) @ self.references_NR.T
        return mean_of_nearest(cosine_BN)

    def to_bytes(self) -> bytes:
        tensors: dict[str, NDArray[Any]] = {
            "basis": self.basis_DR.astype(np.float16),
            "references": self.references_NR.astype(np.float16),
            "threshold": np.array([self.threshold], np.float32),
        }
        return safetensors.numpy.save(tensors)

    @staticmethod
    def from_bytes(content: bytes, embedding_size: int) -> References:
        """Raises SpecMismatch unless the file is whole, and of a backbone of that size."""
        try:
            tensors = safetensors.numpy.load(content)
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
            raise SpecMismatch(f"{FILE_NAME} cannot be read: {error}; train again") from error
        problem = _find_problem(tensors, embedding_size)
        if problem:
            raise SpecMismatch(f"{FILE_NAME} {problem}; train again")
        basis_DR, references_NR = (
            tensors[name].astype(np.float32) for name in ("basis", "references")
        )
        return References(basis_DR, references_NR, float(tensors["threshold"][0]))


def project(embedding_BD: Floats, basis_DR: Floats) -> Floats:
    """Return the part of each embedding's direction that lies in the basis [B, R]."""
    length_B = np.sqrt(np.vecdot(embedding_BD, embedding_BD))
    projected_BR: Floats = embedding_BD @ basis_DR
    projected_BR /= np.maximum(length_B, np.float32(_SHORTEST))[:, None]
    return projected_BR


def mean_of_nearest(cosine_BN: Floats) -> Floats:
    """Return the mean of the five largest of each row, which is reordered. N is at least five."""
    cosine_BN.partition(-NUM_NEIGHBOURS, axis=1)
    mean_B: Floats = cosine_BN[:, -NUM_NEIGHBOURS:].sum(axis=1) / np.float32(NUM_NEIGHBOURS)
    return mean_B


def _find_problem(tensors: dict[str, NDArray[Any]], embedding_size: int) -> str:
    """Say what is wrong with the tensors; an empty text if nothing is."""
    types = {name: tensor.dtype.type for name, tensor in tensors.items()}
    if types != _TENSORS:
        found = ", ".join(f"{name} {tensors[name].dtype}" for name in sorted(tensors))
        return f"has the tensors {found or 'none'}; they must be {_described()}"
    shapes = [tensors[name].shape for name in _TENSORS]
    (basis, references, threshold) = shapes
    directions = references[-1:]
    if basis != (embedding_size, *directions) or len(references) != 2 or threshold != (1,):
        return f"has tensors of the shapes {shapes}, for embeddings of {embedding_size} numbers"
    if not NUM_NEIGHBOURS <= references[0] <= MAX_REFERENCES:
        return (
            f"has {references[0]:,} references; it must have {NUM_NEIGHBOURS} to {MAX_REFERENCES:,}"
        )
    if not 1 <= references[1] <= embedding_size:
        return f"has {references[1]:,} directions; it must have 1 to {embedding_size:,}"
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        return "has numbers that are not finite"
    vectors = tensors["references"].astype(np.float32)
    if np.einsum("nr,nr->n", vectors, vectors).max() > _MAX_LENGTH**2:
        return "has references that are longer than 1"
    return ""


def _described() -> str:
    return ", ".join(f"{name} {np.dtype(kind)}" for name, kind in sorted(_TENSORS.items()))
