"""Tiny models of texts: a backbone of a few kilobytes with its tokenizer, published like any other
version, and labelled texts that it tells apart.

B texts, T tokens, V words, D embedding, K classes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from core.inputs.kind import Limits
from core.inputs.tokens.kind import TokenSpec
from core.inputs.tokens.reader import METADATA_KEY
from core.labelling import intake
from core.labelling.label_request import LabelRequest
from core.models.backbones import Backbone, Runtime
from core.models.manifest import Manifest
from core.models.servable import HeadSession, golden
from core.settings import Settings
from core.store.blobs import Blobs
from core.store.store import Store, open_store
from tests.support import tiny

CLASSES = ("billing", "bug", "praise")
# Words that only texts of one class have, and words that all have.
_OF_CLASSES = (
    "invoice charge refund card price paid money bill receipt payment",
    "crash error broken freeze fails stuck wrong slow screen button",
    "great love thanks wonderful happy best friendly nice super perfect",
)
WORDS_OF = {name: words.split() for name, words in zip(CLASSES, _OF_CLASSES, strict=True)}
_COMMON = (
    "the a my your is was it this that and but so on in of for with today again please app page"
)
COMMON = [*_COMMON.split(), "account", "order", "team"]
VOCABULARY = ("[UNK]", "[CLS]", "[SEP]", *(w for own in WORDS_OF.values() for w in own), *COMMON)
EMBEDDING_SIZE = 16
SPEC = TokenSpec(vocab_size=len(VOCABULARY), max_tokens=32)


def tokenizer_json() -> str:
    """Words in lower case, between [CLS] and [SEP]. Punctuation is unknown."""
    ids = {word: i for i, word in enumerate(VOCABULARY)}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    ends = {name: {"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]")}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": ids[name], "content": name, "special": True, **special}
            for name in VOCABULARY[:3]
        ],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [ends["[CLS]"], first, ends["[SEP]"]],
            "pair": [ends["[CLS]"], first, ends["[SEP]"], second, ends["[SEP]"]],
            "special_tokens": {
                name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in ends
            },
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": "[UNK]"},
    }
    return json.dumps(content)


def backbone_onnx(seed: int = 0) -> bytes:
    """The mean of a random vector for each word, of length 1."""
    rng = np.random.default_rng(seed)
    table_VD = rng.normal(0, 1, (len(VOCABULARY), EMBEDDING_SIZE)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["words"]),
            helper.make_node("Cast", ["attention_mask"], ["mask_BT"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask_BT", "last"], ["mask"]),
            helper.make_node("Mul", ["words", "mask"], ["own"]),
            helper.make_node("ReduceSum", ["own", "tokens"], ["sum"], keepdims=0),
            helper.make_node("LpNormalization", ["sum"], ["embedding"], axis=-1, p=2),
        ],
        "backbone",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", EMBEDDING_SIZE])],
        [
            numpy_helper.from_array(table_VD, "table"),
            numpy_helper.from_array(np.array([-1], np.int64), "last"),
            numpy_helper.from_array(np.array([1], np.int64), "tokens"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: tokenizer_json()})
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def make_manifest(blobs: Blobs, classes: Sequence[str] = CLASSES, **fields: Any) -> Manifest:
    """The manifest of a version whose files are stored. `fields` replace its own."""
    backbone, head = backbone_onnx(), tiny.head(len(classes), size=EMBEDDING_SIZE)
    runtime = Runtime("cpu")
    own = {
        "classes": tuple(classes),
        "input_spec": SPEC,
        "backbone_name": "tiny-text",
        "backbone": blobs.put(backbone),
        "head": blobs.put(head),
        "embedding_size": EMBEDDING_SIZE,
        "golden": golden(Backbone(backbone, "", runtime), HeadSession(head, runtime), SPEC),
    }
    return tiny.plain_manifest(created_at=time.time(), abstain_below=None, **{**own, **fields})


def open_home(settings: Settings, classes: Sequence[str] = CLASSES, **fields: Any) -> Store:
    """A home of texts, whose champion, version 1, has a random head."""
    store = open_store(settings.model_copy(update={"input": "text"}))
    tiny.activate(store, tiny.publish(store, make_manifest(store.blobs, classes, **fields)))
    return store


def texts(num_texts: int, seed: int = 0) -> list[tuple[str, str]]:
    """Texts of 8 words with their labels, no two the same. Three of the words are of the class."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(num_texts):
        label = CLASSES[i % len(CLASSES)]
        words = [*rng.choice(WORDS_OF[label], 3), *rng.choice(COMMON, 5)]
        found.append((" ".join(rng.permutation(words).tolist()), label))
    return found


def label(store: Store, num_texts: int = 24, seed: int = 0) -> None:
    for text, name in texts(num_texts, seed):
        intake.label_image(store, text.encode(), LabelRequest(name), Limits(), time.time())
