"""Embeddings of texts by the backbone of a new home of texts, kept in a cache.

N rows, D embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.models.backbones import Backbone, Runtime
from core.models.pretrained import choice as pretrained
from core.models.pretrained import minilm


def embed(
    texts: Sequence[bytes], cache: Path, on_text: Callable[[], None] = lambda: None
) -> NDArray[np.float32]:
    """Return x_ND, rounded to float16 as in the cache of the service."""
    model = pretrained.load(minilm.NAME)
    key = hashlib.sha256(model.backbone + repr(model.input_spec).encode())
    for text in texts:
        key.update(hashlib.sha256(text).digest())
    path = cache / f"{key.hexdigest()[:24]}.texts.npy"
    if not path.exists():
        backbone = Backbone(model.backbone, model.name, Runtime("cpu", 1))
        reader = backbone.reader(model.input_spec)
        rows = []
        for text in texts:
            rows.append(backbone.embed(reader.decode(text).array[np.newaxis])[0])
            on_text()
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.stack(rows).astype(np.float16))
    x_ND: NDArray[np.float32] = np.load(path).astype(np.float32)
    return x_ND
