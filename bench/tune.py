"""Accuracy of tier `blocks` over the head, and speed of its activation cache, on your photos.

    python -m bench.tune DATA [--backbone starter] [--weights F] [--labels-per-class N]

DATA holds train/<class>/* and val/<class>/*. The head is fitted and the blocks are tuned on train,
of which a sixth chooses the epoch. Both are evaluated on val. Epochs are compared in CPU seconds,
which other work on the machine disturbs less.

N rows, D embedding, K classes; H/W pixels, C channels.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from core.inputs.pixels.decoding import PixelSpec, decode
from training.backbones.backbone import build
from training.blocks.device import Compute
from training.blocks.finetune import tune
from training.blocks.images.activations import PixelActivations
from training.blocks.images.augment import Augmentation, save_preview
from training.blocks.images.inputs import PixelInputs
from training.blocks.learner import Learner
from training.blocks.tail import Tail
from training.head.crossval import assign_folds, choose_l2
from training.head.design_matrix import prepare
from training.head.head import Head
from training.head.regression import fit
from training.recipe import STRENGTHS, BlocksRecipe

_HELD_OUT_FOLDS = 6
_BALANCE = 0.5
# Enough steps for a stable mean.
_TIMED_ROWS = 320


class Photos(NamedTuple):
    classes: tuple[str, ...]
    pixels_NHWC: NDArray[np.uint8]
    y_N: NDArray[np.intp]
    digest_N: NDArray[np.str_]


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    backbone = build(args.backbone, args.weights)
    spec = dataclasses.replace(backbone.pixels, size_px=args.size or backbone.pixels.size_px)
    recipe = dataclasses.replace(
        BlocksRecipe(),
        **{name: value for name, value in vars(args).items() if name in _RECIPE and value},
    )
    val = read(args.data / "val", spec, None, args.seed)
    photos = read(args.data / "train", spec, args.labels_per_class, args.seed)
    num_train, num_val, num_classes = len(photos.y_N), len(val.y_N), len(photos.classes)
    print(
        f"{args.backbone} at {spec.size_px} px; {num_train} photos of {num_classes} classes, ",
        end="",
    )
    print(f"evaluated on {num_val}; {args.threads} threads")
    if args.preview:
        augmentation = Augmentation(
            recipe.augment, flip=recipe.flip, size_px=spec.size_px, seed=args.seed
        )
        save_preview(photos.pixels_NHWC[:: num_train // 8], augmentation, args.preview)

    began = time.perf_counter()
    x_ND = embed(backbone, photos.pixels_NHWC)
    embedded_s = time.perf_counter() - began
    head = fit_head(x_ND, photos)
    print(f"head    accuracy {accuracy(backbone, head, val):.3f}   ", end="")
    print(f"{time.perf_counter() - began:6.1f} s, {embedded_s:.1f} of them for embeddings")

    is_held_out_N = assign_folds(photos.digest_N, photos.y_N, _HELD_OUT_FOLDS, args.seed) == 0
    kept = photos._replace(y_N=photos.y_N[~is_held_out_N], digest_N=photos.digest_N[~is_held_out_N])
    start = fit_head(x_ND[~is_held_out_N], kept)
    recipes = {"blocks": recipe}
    if args.naive:
        recipes["naive "] = dataclasses.replace(recipe, views=0)
    for name, tuning_recipe in recipes.items():
        with tempfile.TemporaryDirectory() as folder:
            tuned = tune(
                backbone,
                start,
                PixelInputs(photos.pixels_NHWC),
                photos.y_N,
                is_held_out_N,
                tuning_recipe,
                Path(folder),
                seed=args.seed,
            )
        print(f"{name}  accuracy {accuracy(tuned.backbone, tuned.head, val):.3f}   ", end="")
        print(f"{tuned.seconds:6.1f} s, {len(tuned.history)} epochs, {tuned.reason}; ", end="")
        print(f"{tuned.weights} weights of epoch {tuned.best_epoch}, held-out loss ", end="")
        print(f"{tuned.before.loss:.3f} -> {tuned.after.loss:.3f}", *tuned.notes, sep="\n")
    for depth in dict.fromkeys((1, 2, recipe.depth)):
        print(compare_epochs(backbone, photos, dataclasses.replace(recipe, depth=depth)))


def compare_epochs(backbone: Any, photos: Photos, recipe: BlocksRecipe) -> str:
    """Time an epoch from the cache, a naive one, and one of a full fine-tune.

    The naive one augments and runs all blocks, and trains the same ones. The full one trains all.
    """
    num_timed = min(_TIMED_ROWS, len(photos.y_N))
    rows_N = np.linspace(0, len(photos.y_N) - 1, num_timed).astype(np.intp)  # of every class
    num_classes = len(photos.classes)
    zero = Head(
        photos.classes,
        np.zeros((backbone.embedding_size, num_classes), np.float32),
        np.zeros(num_classes, np.float32),
    )
    compute = Compute("cpu")

    def time_epoch(depth: int, cache_mb: float) -> float:
        tail = Tail(backbone, zero, np.arange(num_classes), depth).eval()
        tail.to(memory_format=torch.channels_last)
        augmentation = Augmentation(
            recipe.augment, flip=recipe.flip, size_px=photos.pixels_NHWC.shape[1], seed=0
        )
        with tempfile.TemporaryDirectory() as folder:
            activations = PixelActivations(
                tail,
                compute,
                photos.pixels_NHWC,
                rows_N,
                augmentation,
                Path(folder) / "timed.f16",
                num_views=1,
                limit_mb=cache_mb,
                memory_mb=recipe.memory_mb,
            )
            activations.fill(0, lambda: None)
            every = dataclasses.replace(recipe, depth=depth)
            learner = Learner(tail, compute, activations, photos.y_N[rows_N], every)
            next(learner.epoch(0, 9, np.random.default_rng(0)))  # the first step allocates memory
            began = time.process_time()
            for _ in learner.epoch(0, 9, np.random.default_rng(0)):
                pass
            return 1e3 * (time.process_time() - began) / num_timed

    cached, naive = time_epoch(recipe.depth, 1e6), time_epoch(recipe.depth, 0)
    full = time_epoch(len(backbone.blocks), 0)
    return (
        f"depth {recipe.depth:2}: {cached:.2f} ms a photo from the cache, naive {naive:.2f} "
        f"({naive / cached:.1f} x), full fine-tune {full:.2f} ({full / cached:.1f} x)"
    )


def read(folder: Path, spec: PixelSpec, per_class: int | None, seed: int) -> Photos:
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    rng = np.random.default_rng(seed)
    pixels, y, digests = [], [], []
    for k, name in enumerate(classes):
        files = sorted((folder / name).iterdir())
        for at in sorted(rng.permutation(len(files))[:per_class]):
            image = files[at].read_bytes()
            pixels.append(decode(image, spec))
            y.append(k)
            digests.append(hashlib.sha256(image).hexdigest())
    return Photos(classes, np.stack(pixels), np.array(y, np.intp), np.array(digests))


def embed(backbone: Any, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        batches = [
            backbone(torch.from_numpy(pixels_NHWC[i : i + 64])).numpy()
            for i in range(0, len(pixels_NHWC), 64)
        ]
    return np.concatenate(batches)


def fit_head(x_ND: NDArray[np.float32], photos: Photos) -> Head:
    design = prepare(x_ND)
    num_classes = len(photos.classes)
    fold_N = assign_folds(photos.digest_N, photos.y_N, 5)
    l2 = choose_l2(design, photos.y_N, fold_N, num_classes, balance=_BALANCE)
    fitted = fit(design, photos.y_N, num_classes, l2=l2, balance=_BALANCE)
    return design.head(fitted, photos.classes)


def accuracy(backbone: Any, head: Head, photos: Photos) -> float:
    logits_NK = head.logits(embed(backbone, photos.pixels_NHWC))
    return float((logits_NK.argmax(axis=1) == photos.y_N).mean())


_RECIPE = ("depth", "epochs", "lr", "minutes", "augment", "views")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", default="starter")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--labels-per-class", type=int)
    parser.add_argument("--size", type=int, help="pixels; by default the backbone's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--preview", type=Path, help="save a sheet of augmented photos as PNG")
    parser.add_argument("--depth", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--views", type=int)
    parser.add_argument(
        "--naive", action="store_true", help="tune once more without the cache, for the accuracy"
    )
    parser.add_argument("--lr", type=float)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--augment", choices=STRENGTHS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
