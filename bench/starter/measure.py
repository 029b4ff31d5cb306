"""Measure a starter as it is served: python -m bench.starter.measure WEIGHTS --student slim \\
    --photos flowers hymenoptera --images tiny-imagenet-val.npz

WEIGHTS is a `student.safetensors` or the bundled file. Each folder of photos has train/<class> and
val/<class>. On the frozen backbone a ridge regression and Evergreen's head are fitted to train and
evaluated on val. The images are of the 200 classes that the starter's own head knows.

N images, D embedding.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path

import numpy as np
import safetensors.torch
from numpy.typing import NDArray

from core.inputs.pixels.decoding import PixelSpec, decode
from core.models.backbones import Backbone, Runtime
from training.backbones.export import export_backbone
from training.dataset import Dataset
from training.distil.student import new_backbone
from training.head.fit import fit_head
from training.recipe import HeadRecipe

_BATCH = 16
_RIDGE = (1e-3, 1e-2, 1e-1, 1.0)


def load(weights: Path, student: str, size_px: int, threads: int = 2) -> Backbone:
    """Load the backbone of a starter into onnxruntime."""
    module = new_backbone(student)
    stored = safetensors.torch.load_file(weights)
    module.load(stored, ("head.",), str(weights))
    return Backbone(export_backbone(module, size_px), "measured", Runtime("cpu", threads))


def embed(backbone: Backbone, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    starts = range(0, len(pixels_NHWC), _BATCH)
    return np.concatenate([backbone.embed(pixels_NHWC[at : at + _BATCH]) for at in starts])


def photos(folder: Path, size_px: int) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    files = [(file, k) for k, name in enumerate(names) for file in sorted(folder.glob(f"{name}/*"))]
    pixels = [decode(file.read_bytes(), PixelSpec(size_px)) for file, _ in files]
    return np.stack(pixels), np.array([k for _, k in files])


def probe(backbone: Backbone, folder: Path, size_px: int) -> dict[str, float]:
    """Return the accuracy on val of a ridge regression (best penalty) and of Evergreen's head."""
    x_ND, y_N = photos(folder / "train", size_px)
    x_ND = embed(backbone, x_ND)
    val_ND, val_N = photos(folder / "val", size_px)
    val_ND = embed(backbone, val_ND)
    started = time.perf_counter()
    ids_N = np.arange(len(y_N))
    rows = Dataset(
        tuple(str(k) for k in range(y_N.max() + 1)),
        x_ND,
        y_N,
        ids_N.astype(str),
        ids_N,
        len(y_N),
    )
    fitted = fit_head(rows, HeadRecipe(), score_all=False)
    is_correct_N = fitted.head.logits(val_ND).argmax(1) == val_N
    return {
        "ridge": max(ridge(x_ND, y_N, val_ND, val_N)),
        "head": round(float(is_correct_N.mean()), 4),
        "head_s": round(time.perf_counter() - started, 1),
        "photos": len(y_N) + len(val_N),
    }


def ridge(
    x_ND: NDArray[np.float32],
    y_N: NDArray[np.intp],
    val_ND: NDArray[np.float32],
    val_N: NDArray[np.intp],
) -> list[float]:
    """Return the accuracy on val of ridge regressions (targets -1 and 1), one per penalty."""
    mean_D, scale_D = x_ND.mean(0), x_ND.std(0) + 1e-6
    train_ND = np.c_[(x_ND - mean_D) / scale_D, np.ones(len(x_ND))].astype(np.float64)
    test_ND = np.c_[(val_ND - mean_D) / scale_D, np.ones(len(val_ND))]
    wanted_NK = 2 * np.eye(y_N.max() + 1)[y_N] - 1
    gram_DD = train_ND.T @ train_ND / len(train_ND)
    right_DK = train_ND.T @ wanted_NK / len(train_ND)
    solved = [np.linalg.solve(gram_DD + r * np.eye(len(gram_DD)), right_DK) for r in _RIDGE]
    return [round(float(((test_ND @ w).argmax(1) == val_N).mean()), 4) for w in solved]


def own_classes(backbone: Backbone, weights: Path, images: Path, size_px: int) -> dict[str, float]:
    stored = safetensors.torch.load_file(weights)
    weight_KD, bias_K = (stored[f"head.{name}"].float().numpy() for name in ("weight", "bias"))
    with np.load(images, allow_pickle=False) as archive:
        held, offsets, y_N = archive["bytes"], archive["offsets"], archive["labels"]
    encoded = (held[a:b].tobytes() for a, b in itertools.pairwise(offsets))
    pixels_NHWC = np.stack([decode(image, PixelSpec(size_px)) for image in encoded])
    order_NK = np.argsort(-(embed(backbone, pixels_NHWC) @ weight_KD.T + bias_K), axis=1)
    is_correct_NK = order_NK == y_N[:, None]
    top1, top5 = is_correct_NK[:, 0].mean(), is_correct_NK[:, :5].any(1).mean()
    return {"images": len(y_N), "top1": round(float(top1), 4), "top5": round(float(top5), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a starter as it is served.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--student", default="starter")
    parser.add_argument("--size-px", type=int, default=144)
    parser.add_argument("--photos", type=Path, nargs="*", default=[])
    parser.add_argument("--images", type=Path)
    options = parser.parse_args()
    backbone = load(options.weights, options.student, options.size_px)
    figures = {folder.name: probe(backbone, folder, options.size_px) for folder in options.photos}
    if options.images:
        own = own_classes(backbone, options.weights, options.images, options.size_px)
        figures[options.images.stem] = own
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
