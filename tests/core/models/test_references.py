from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from core.errors import BlobMissing, ChecksumMismatch, SpecMismatch
from core.models.backbones import Runtime
from core.models.references import MAX_REFERENCES, References
from core.models.servable import Scores, load
from core.store.blobs import LocalBlobs
from tests.support import tiny

SIZE = 4


def references(threshold: float = 0.9) -> References:
    """Six copies of the first axis, in a basis of the first two."""
    return References(np.eye(SIZE, 2, dtype=np.float32), np.eye(1, 2)[[0] * 6], threshold)


def changed(**tensors: Any) -> bytes:
    """The file with other tensors; None leaves one out."""
    stored: Mapping[str, NDArray[Any]] = safetensors.numpy.load(references().to_bytes())
    kept = {name: value for name, value in ({**stored, **tensors}).items() if value is not None}
    return safetensors.numpy.save(kept)


def test_image_is_unfamiliar_below_the_mean_of_its_five_nearest() -> None:
    embedding_BD = np.array([[3, 0, 0, 0], [9, 1, 0, 0], [1, 1, 0, 0], [-1, 0, 0, 0]], np.float32)
    assert references().are_unfamiliar(embedding_BD).tolist() == [False, False, True, True]


def test_what_lies_outside_of_the_basis_makes_an_image_less_familiar() -> None:
    embedding_BD = np.array([[1, 0, 0, 0], [1, 0, 0, 2]], np.float32)
    assert references().are_unfamiliar(embedding_BD).tolist() == [False, True]


def test_embedding_of_zeros_is_unfamiliar() -> None:
    assert references().are_unfamiliar(np.zeros((1, SIZE), np.float32)).tolist() == [True]


def test_file_gives_back_the_references() -> None:
    again = References.from_bytes(references(0.625).to_bytes(), SIZE)
    np.testing.assert_array_equal(again.basis_DR, references().basis_DR)
    np.testing.assert_array_equal(again.references_NR, references().references_NR)
    assert (len(again), again.threshold) == (6, 0.625)
    assert again.basis_DR.dtype == again.references_NR.dtype == np.float32


HALF = np.float16


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (references().to_bytes()[:-1], "cannot be read"),
        (b"\x80\x04K\x01." + b"\0" * 40, "cannot be read"),
        (changed(basis=None), "has the tensors references float16, threshold float32; they must"),
        (changed(more=np.zeros(1, HALF)), "has the tensors basis float16, more"),
        (changed(references=np.zeros((6, 2), np.float32)), "references float32"),
        (changed(basis=np.eye(SIZE + 1, 2, dtype=HALF)), "for embeddings of 4 numbers"),
        (changed(basis=np.eye(SIZE, 3, dtype=HALF)), "for embeddings of 4 numbers"),
        (changed(references=np.zeros(2, HALF)), "for embeddings of 4 numbers"),
        (changed(threshold=np.zeros(2, np.float32)), "for embeddings of 4 numbers"),
        (changed(references=np.zeros((4, 2), HALF)), "has 4 references; it must have 5 to 20,000"),
        (changed(references=np.zeros((MAX_REFERENCES + 1, 2), HALF)), "has 20,001 references"),
        (
            changed(references=np.zeros((6, 5), HALF), basis=np.zeros((SIZE, 5), HALF)),
            "has 5 directions; it must have 1 to 4",
        ),
        (changed(references=np.full((6, 2), np.nan, HALF)), "not finite"),
        (changed(basis=np.full((SIZE, 2), np.inf, HALF)), "not finite"),
        (changed(threshold=np.array([np.nan], np.float32)), "not finite"),
        (changed(references=np.ones((6, 2), HALF)), "longer than 1"),
    ],
)
def test_file_that_is_wrong_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(SpecMismatch, match=message):
        References.from_bytes(content, SIZE)


# In a version


def with_references(blobs: LocalBlobs, content: bytes, **fields: Any) -> Any:
    return tiny.make_manifest(blobs, version=3, references=blobs.put(content), **fields)


def test_version_says_which_images_are_unfamiliar(blobs: LocalBlobs, runtime: Runtime) -> None:
    pixels_BHWC = np.stack([np.zeros((8, 8, 3)), np.full((8, 8, 3), 255)]).astype(np.uint8)
    plain = load(tiny.make_manifest(blobs), blobs, runtime).predict(pixels_BHWC)
    black_D = plain.embedding_BD[0] / np.linalg.norm(plain.embedding_BD[0])
    known = References(np.eye(SIZE, dtype=np.float32), np.stack([black_D] * 5), 0.99)
    scores = load(with_references(blobs, known.to_bytes()), blobs, runtime).predict(pixels_BHWC)
    assert plain.unfamiliar_B is None
    assert scores.unfamiliar_B is not None
    assert scores.unfamiliar_B.tolist() == [False, True]
    np.testing.assert_array_equal(scores.logits_BK, plain.logits_BK)
    joined = Scores.join([scores.part(1, 2), scores.part(0, 1)]).unfamiliar_B
    assert joined is not None
    assert joined.tolist() == [True, False]
    assert Scores.join([plain, plain]).unfamiliar_B is None


def test_version_can_be_loaded_without_its_references(blobs: LocalBlobs, runtime: Runtime) -> None:
    manifest = tiny.make_manifest(blobs, references="0" * 64)
    servable = load(manifest, blobs, runtime, with_references=False)
    assert servable.predict(tiny.SPEC.golden(0)).unfamiliar_B is None


def test_version_with_wrong_references_is_not_loaded(blobs: LocalBlobs, runtime: Runtime) -> None:
    with pytest.raises(SpecMismatch, match="cannot be read"):
        load(with_references(blobs, b"junk"), blobs, runtime)
    other = References(np.eye(9, 2, dtype=np.float32), np.eye(1, 2)[[0] * 6], 0.9)
    with pytest.raises(SpecMismatch, match="embeddings of 4 numbers"):
        load(with_references(blobs, other.to_bytes()), blobs, runtime)
    with pytest.raises(BlobMissing):
        load(tiny.make_manifest(blobs, references="0" * 64), blobs, runtime)


def test_version_with_damaged_references_is_not_loaded(blobs: LocalBlobs, runtime: Runtime) -> None:
    manifest = with_references(blobs, references().to_bytes())
    load(manifest, blobs, runtime)
    blobs._path(manifest.references).write_bytes(b"damaged")
    with pytest.raises(ChecksumMismatch):
        load(manifest, blobs, runtime)
