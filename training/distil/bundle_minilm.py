"""Measure what MiniLM's linear maps take: python -m training.distil.bundle_minilm

The ranges are in the repository, so this is needed only when the graph or the weights change.
Writes `ranges.json` and the sha256 of the backbone in `minilm.json`, in
`core/models/minilm_files/`. Needs torch, transformers and tokenizers. The texts are paragraphs of
Python's language reference, single words, and tokens drawn by chance.

Axes: T tokens, I inputs of a linear map.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

import training.backbones.torchvision_import  # noqa: F401
from core.models.graphs.bert_int8 import inputs_of_layer
from core.models.pretrained import minilm

# isort: split
# It imports torchvision.
from transformers import BertConfig, BertModel

# Ranges hardly change with more.
_NUM_PARAGRAPHS = 150
# So many channels are divided, each to the largest value of the next one. 16 or 64 gave no nearer
# embeddings.
_NUM_OUTLIERS = 8
_LINEAR_MAPS = (
    *("attention.self.query", "attention.output.dense"),
    *("intermediate.dense", "output.dense"),
)


def main() -> None:
    folder = Path(str(minilm.FILES))
    found = _extremes()
    # Dividing what attention gives does not help: no channel stands out.
    ranges = {
        name: _range(low_I, high_I, 0 if name.endswith("context") else _NUM_OUTLIERS)
        for name, (low_I, high_I) in found.items()
    }
    (folder / "ranges.json").write_text(json.dumps(ranges, indent=1) + "\n", encoding="utf-8")
    pinned = minilm.card()
    pinned["backbone_sha256"] = hashlib.sha256(minilm.backbone_onnx()).hexdigest()
    text = json.dumps(pinned, indent=1, ensure_ascii=False) + "\n"
    (folder / "minilm.json").write_text(text, encoding="utf-8")


def _extremes() -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """The least and the largest value of each channel, of each input of linear maps."""
    config = BertConfig.from_dict(minilm.CONFIG)
    model = BertModel(config, add_pooling_layer=False).eval()
    tensors = {key: torch.from_numpy(value) for key, value in minilm.weights().items()}
    model.load_state_dict(tensors, strict=True)
    found: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def watch(name: str) -> Any:
        def note(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            values = inputs[0][0].numpy()
            low_I, high_I = found.get(name, (values[0], values[0]))
            found[name] = (
                np.minimum(low_I, values.min(axis=0)),
                np.maximum(high_I, values.max(axis=0)),
            )

        return note

    for layer in range(minilm.NUM_LAYERS):
        for name, module in zip(inputs_of_layer(layer), _LINEAR_MAPS, strict=True):
            linear = model.get_submodule(f"encoder.layer.{layer}.{module}")
            linear.register_forward_pre_hook(watch(name))
    with torch.inference_mode():
        for ids_T in _token_ids():
            model(torch.tensor([ids_T]))
    return found


def _range(
    low_I: NDArray[np.float32], high_I: NDArray[np.float32], num_outliers: int
) -> dict[str, Any]:
    largest_I = np.maximum(np.abs(low_I), np.abs(high_I))
    order = np.argsort(-largest_I, kind="stable")
    usual = largest_I[order[num_outliers]]
    outliers = {int(i): round(float(largest_I[i] / usual), 3) for i in order[:num_outliers]}
    divisors_I = np.ones_like(largest_I)
    for channel, divisor in outliers.items():
        divisors_I[channel] = divisor
    low, high = (low_I / divisors_I).min(), (high_I / divisors_I).max()
    return {"low": round(float(low), 4), "high": round(float(high), 4), "outliers": outliers}


def _token_ids() -> Iterator[list[int]]:
    tokenizer = Tokenizer.from_str(minilm.tokenizer_json())
    paragraphs = [
        re.sub(r"\s+", " ", paragraph)
        for topic in sorted(topics)
        for paragraph in topics[topic].split("\n\n")
        if len(paragraph) > 20
    ]
    rng = np.random.default_rng(3)
    chosen = [paragraphs[i] for i in rng.choice(len(paragraphs), _NUM_PARAGRAPHS, replace=False)]
    for text in (*chosen, "a", "hi", "billing", "error 500"):
        yield tokenizer.encode(text).ids[: minilm.MAX_TOKENS]
    for _ in range(6):
        yield [int(i) for i in rng.integers(0, tokenizer.get_vocab_size(), 64)]


if __name__ == "__main__":
    main()
