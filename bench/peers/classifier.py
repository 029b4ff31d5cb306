"""A request of every peer: decode, run onnxruntime on one thread, return the best five classes.

An image is decoded to pixels, a text to tokens.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from PIL import Image

# The environment variables that configure a peer.
MODEL, DECODER, WORKERS, PORT = "PEER_MODEL", "PEER_DECODER", "PEER_WORKERS", "PEER_PORT"
#: The decoder of texts.
TOKENS = "tokens"
_TOP = 5
_MAX_TOKENS = 256

# The inputs of the ONNX file, of one image or text.
Feed = Callable[[bytes], dict[str, Any]]


class Classifier:
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        model = Path(os.environ[MODEL]).read_bytes()
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        about = self._session.get_modelmeta().custom_metadata_map
        self._classes = about["classes"].split("\n")
        self._feed = feed(os.environ[DECODER], about)

    def classify(self, content: bytes) -> dict[str, Any]:
        (probabilities_BK,) = self._session.run(["probabilities"], self._feed(content))
        best = np.argsort(-probabilities_BK[0])[:_TOP]
        top = [
            {"label": self._classes[k], "confidence": float(probabilities_BK[0, k])} for k in best
        ]
        return {"worker": os.getpid(), "top": top}


def feed(name: str, about: Mapping[str, str]) -> Feed:
    """`about` is the metadata of the ONNX file."""
    if name == TOKENS:
        return tokens(about["tokenizer"])
    decode = decoder(name, int(about["size_px"]), float(about["crop_fraction"]))
    return lambda image: {"pixels": decode(image)[None]}


def tokens(tokenizer: str) -> Feed:
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_str(tokenizer)
    loaded.enable_truncation(_MAX_TOKENS)
    loaded.no_padding()

    def of_text(text: bytes) -> dict[str, Any]:
        ids_1T = np.array([loaded.encode(text.decode()).ids], np.int64)
        return {"input_ids": ids_1T, "attention_mask": np.ones_like(ids_1T)}

    return of_text


def decoder(name: str, size_px: int, crop_fraction: float) -> Callable[[bytes], Any]:
    if name == "evergreen":
        from core.inputs.pixels.decoding import PixelSpec, decode

        spec = PixelSpec(size_px, crop_fraction)
        return lambda image: decode(image, spec)
    return lambda image: plain(image, size_px)


def plain(image: bytes, size_px: int) -> Any:
    """Decode as tutorials do: the whole image at full size."""
    im = Image.open(io.BytesIO(image)).convert("RGB")
    side = min(im.size)
    left, top = (im.width - side) // 2, (im.height - side) // 2
    square = im.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size_px, size_px), Image.Resampling.BILINEAR))
