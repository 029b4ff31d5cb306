"""A home of texts whose champion is a small encoder, and labelled texts for it."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.models.backbones import Backbone, Runtime
from core.models.head_onnx import head_onnx
from core.models.servable import HeadSession, golden
from core.settings import Settings
from core.store.store import Store, open_store
from tests.support import tiny
from tests.training.backbones.text.tiny_encoder import WORDS, tiny_encoder
from training.backbones.networks import export
from training.backbones.text.quantise import quantise

CLASSES = WORDS[:3]


def open_text_store(settings: Settings) -> Store:
    """A home whose version 1 is the small encoder in int8, without classes."""
    store = open_store(settings.model_copy(update={"input": "text"}))
    encoder = tiny_encoder()
    float32 = export(encoder)
    model = quantise(float32)
    head = head_onnx(np.zeros((encoder.embedding_size, 0), np.float32), np.zeros(0, np.float32))
    runtime = Runtime("cpu")
    spec = encoder.input_spec
    manifest = tiny.plain_manifest(
        created_at=time.time(),
        classes=(),
        input_spec=spec,
        backbone_name=encoder.name,
        backbone=store.blobs.put(model),
        head=store.blobs.put(head),
        embedding_size=encoder.embedding_size,
        abstain_below=None,
        quantised_from=store.blobs.put(float32),
        golden=golden(Backbone(model, "", runtime), HeadSession(head, runtime), spec),
    )
    tiny.activate(store, tiny.publish(store, manifest), time.time())
    return store


def labelled_texts(num_texts: int, seed: int = 0) -> list[tuple[str, str]]:
    """Texts of 6 to 24 words, in which a single word is the class."""
    rng = np.random.default_rng(seed)
    texts = []
    for number in range(num_texts):
        label = CLASSES[number % len(CLASSES)]
        words = rng.choice(WORDS[len(CLASSES) :], size=rng.integers(6, 25)).tolist()
        words[rng.integers(len(words))] = label
        texts.append((" ".join(words), label))
    return texts


def label(store: Store, texts: Iterable[tuple[str, str]]) -> None:
    for text, name in texts:
        intake.label_image(store, text.encode(), LabelRequest(name), Limits(), time.time())
