"""Make the bundled starter: python -m training.distil.bundle_starter WEIGHTS.safetensors CARD.json

WEIGHTS holds `features.*`, `head.weight` and `head.bias` in any float type. CARD has the layout of
the bundled `starter.json`. A bundle made from the bundle has the same bytes. With --photos, a
folder of JPEGs, it also measures the effect of float16 and writes it on the card. WEIGHTS must be
float32 then.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray

from core.inputs.pixels.decoding import PixelSpec, decode
from core.models.binding import bind_weights
from core.models.pretrained import starter
from training.backbones.backbone import StarterBackbone, load_weights
from training.backbones.export import export_graph

Weights = Mapping[str, NDArray[Any]]


def make_bundle(weights: Weights, card: Mapping[str, Any], folder: Path) -> None:
    """Write the three bundled files into a folder."""
    classes, num_outputs = card["classes"], weights["head.bias"].size
    if not len(classes) == len(set(classes)) == num_outputs:
        raise SystemExit(
            f"the head has {num_outputs} outputs: the card must name as many, once each"
        )
    folder.mkdir(parents=True, exist_ok=True)
    stored = safetensors.numpy.save(halve(weights))
    module = StarterBackbone(**card["normalisation"])
    graph = export_graph(module, card["pixels"]["size_px"])
    backbone = bind_weights(graph, starter.backbone_weights(stored))
    pinned = {**card, "backbone_sha256": hashlib.sha256(backbone).hexdigest()}
    text = json.dumps(pinned, indent=1, ensure_ascii=False) + "\n"
    (folder / "starter.safetensors").write_bytes(stored)
    (folder / "backbone.graph.onnx").write_bytes(graph)
    (folder / "starter.json").write_text(text, encoding="utf-8")


def halve(weights: Weights) -> dict[str, NDArray[np.float16]]:
    """Convert to float16, without BatchNorm's counters, which inference never reads."""
    return {
        name: tensor.astype(np.float16)
        for name, tensor in sorted(weights.items())
        if not name.endswith("num_batches_tracked")
    }


def measure_halving(
    module: StarterBackbone, weights: Weights, pixels_BHWC: NDArray[np.uint8]
) -> dict[str, float]:
    """Compare embeddings and top classes of the weights as given and as stored in float16."""
    batch = torch.from_numpy(pixels_BHWC)
    with torch.inference_mode():
        full_BD, full_B = _outputs(module, weights, batch)
        half_BD, half_B = _outputs(module, halve(weights), batch)
    cosine_B = torch.nn.functional.cosine_similarity(full_BD, half_BD)
    return {
        "photos": len(batch),
        "cosine_mean": round(float(cosine_B.mean()), 7),
        "cosine_min": round(float(cosine_B.min()), 7),
        "top1_agreement": round(float((full_B == half_B).double().mean()), 4),
        "embedding_max_abs_diff": round(float((full_BD - half_BD).abs().max()), 6),
        "embedding_max_abs": round(float(full_BD.abs().max()), 3),
    }


def _outputs(
    module: StarterBackbone, weights: Weights, batch_BHWC: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    load_weights(module, weights)
    embedding_BD = module(batch_BHWC)
    head_KD, bias_K = (torch.tensor(weights[f"head.{k}"]).float() for k in ("weight", "bias"))
    return embedding_BD, (embedding_BD @ head_KD.T + bias_K).argmax(1)


def _read_photos(folder: Path, spec: PixelSpec, limit: int) -> NDArray[np.uint8]:
    paths = sorted(folder.rglob("*.jpg"))
    chosen = paths[:: max(1, len(paths) // limit)][:limit]
    return np.stack([decode(path.read_bytes(), spec) for path in chosen])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make the bundled starter's files.")
    parser.add_argument("weights", type=Path, help="safetensors with features.* and head.*")
    parser.add_argument("card", type=Path, help="JSON laid out like the bundled starter.json")
    parser.add_argument("--photos", type=Path, help="folder of JPEGs to measure half precision on")
    parser.add_argument("--sample", default="photos", help="what those photos are, for the card")
    parser.add_argument("--into", type=Path, default=Path(str(starter.FILES)))
    options = parser.parse_args(argv)
    weights = safetensors.numpy.load_file(options.weights)
    card = json.loads(options.card.read_text(encoding="utf-8"))
    if options.photos:
        module = StarterBackbone(**card["normalisation"])
        photos = _read_photos(options.photos, PixelSpec.from_json(card["pixels"]), limit=300)
        figures = measure_halving(module, weights, photos)
        card["figures"]["half_precision"] = {"sample": options.sample, **figures}
    make_bundle(weights, card, options.into)


if __name__ == "__main__":
    main()
