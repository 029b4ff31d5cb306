"""What is called unfamiliar, and what that costs: python -m bench.unfamiliar KNOWN OTHERS ...

KNOWN is a data set: a folder with train/<class>/* and val/<class>/*. OTHERS are folders or .npz
files with images of other things. The backbone is that of a new home. Each draw takes a few photos
of each class of train as labelled examples, and chooses references as a run does. The first table
has the share of images that are then called unfamiliar: val, the others, blank walls, noise.

The second table times one prediction with and without references, in turn: decoded, scored and
recorded on one thread, without HTTP. Of 20,000 labels k-means keeps about 1,024 references. A file
may hold 20,000.

N rows, D embedding.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bench.learning.photos import Photos, read
from bench.models import first_manifest
from bench.tables import bar, show
from core import predictions
from core.inputs.kind import Limits
from core.inputs.pixels.decoding import PixelSpec, decode
from core.models.backbones import Runtime
from core.models.references import MAX_REFERENCES, References
from core.models.servable import Servable, load
from core.predict import predict
from core.registry.bootstrap import ensure_first_version
from core.retention.capture import Capture
from core.retention.policy import CapturePolicy
from core.settings import Settings
from core.store.store import Store, open_store
from training.dataset import Dataset
from training.distil.sources import open_source
from training.pipeline.references import choose_references

_BATCH = 16
_NUM_MADE = 200
_DIRECTIONS = 128
Rows = NDArray[np.float32]


def first_version(store: Store) -> Servable:
    ensure_first_version(store)
    return load(first_manifest(store), store.blobs, Runtime("cpu"))


def embed(servable: Servable, pixels: Iterable[NDArray[np.uint8]]) -> Rows:
    batches, left = [], iter(pixels)
    while batch := list(islice(left, _BATCH)):
        batches.append(servable.backbone.embed(np.stack(batch)))
    return np.concatenate(batches)


def photos_of(photos: Photos, spec: PixelSpec) -> Iterator[NDArray[np.uint8]]:
    return (decode(path.read_bytes(), spec) for path in photos.files)


def images_of(path: Path, spec: PixelSpec, most: int) -> Iterator[NDArray[np.uint8]]:
    source = open_source(path)
    step = max(1, len(source) // most)
    return (decode(image, spec) for image, _ in islice(source.read(), 0, step * most, step))


def blank_walls(spec: PixelSpec) -> Iterator[NDArray[np.uint8]]:
    """One colour each, half of them lit from one side, with the noise of a sensor."""
    rng, side = np.random.default_rng(0), spec.size_px
    for i in range(_NUM_MADE):
        light = np.linspace(-1, 1, side)[:, None, None] * rng.uniform(5, 40) * (i % 2)
        noise = rng.normal(0, rng.uniform(0, 4), (side, side, 3))
        yield np.clip(rng.uniform(10, 245, 3) + light + noise, 0, 255).astype(np.uint8)


def noise(spec: PixelSpec) -> Iterator[NDArray[np.uint8]]:
    rng, side = np.random.default_rng(0), spec.size_px
    for _ in range(_NUM_MADE):
        level, contrast = rng.uniform(30, 220), rng.uniform(10, 80)
        pixels = rng.normal(level, contrast, (side, side, 3))
        yield np.clip(pixels, 0, 255).astype(np.uint8)


def flagged(
    train: Photos, x_ND: Rows, seen: Sequence[Rows], per_class: int, num_draws: int
) -> list[str]:
    """Return the mean share of each group that is unfamiliar."""
    shares = []
    for seed in range(num_draws):
        rng = np.random.default_rng(seed)
        drawn = [rng.permutation(np.flatnonzero(train.y_N == k)) for k in np.unique(train.y_N)]
        rows_N = np.concatenate([own[:per_class] for own in drawn])
        references = choose_references(_dataset(x_ND[rows_N]), is_backbone_tuned=False)
        assert references is not None
        shares.append([references.are_unfamiliar(group_ND).mean() for group_ND in seen])
    return [str(per_class), *(f"{100 * share:.1f} %" for share in np.mean(shares, axis=0))]


def _dataset(x_ND: Rows) -> Dataset:
    numbers_N = np.arange(len(x_ND))
    return Dataset(("any",), x_ND, 0 * numbers_N, numbers_N.astype(str), numbers_N, len(x_ND))


def costs(store: Store, servable: Servable, image: bytes, num_rounds: int) -> list[list[str]]:
    size = servable.manifest.embedding_size
    x_ND = np.random.default_rng(0).standard_normal((MAX_REFERENCES, size), np.float32)
    began = time.thread_time()
    chosen = choose_references(_dataset(x_ND), is_backbone_tuned=False)
    choosing_s = time.thread_time() - began
    assert chosen is not None
    all_of_them = References(chosen.basis_DR, x_ND[:, :_DIRECTIONS] / size, 0.5)
    rows = []
    for references in (chosen, all_of_them):
        other = Servable(servable.manifest, servable.backbone, servable._head, references)
        without_ms, with_ms = _take_turns(store, (servable, other), image, num_rounds)
        content = references.to_bytes()
        began = time.thread_time()
        References.from_bytes(content, size)
        loading_ms = 1000 * (time.thread_time() - began)
        added = f"{100 * (with_ms / without_ms - 1):.1f} %"
        figures = f"{without_ms:.2f}", f"{with_ms:.2f}", added, f"{loading_ms:.1f}"
        rows.append([f"{len(references):,}", f"{len(content) / 1e6:.1f}", *figures])
    rows[0].append(f"{choosing_s:.2f}")
    rows[1].append("-")
    return rows


def _take_turns(
    store: Store, pair: tuple[Servable, Servable], image: bytes, num_rounds: int
) -> list[float]:
    """Return the median milliseconds of each. They take turns."""
    limits = Limits()
    capture = Capture(CapturePolicy(), store.disk)
    taken: tuple[list[float], ...] = ([], [])
    for _ in range(num_rounds):
        for servable, own in zip(pair, taken, strict=True):
            began = time.perf_counter()
            result = predict(servable, image, store, limits, capture, time.time())
            predictions.add(store.db, [result.prediction])
            own.append(1000 * (time.perf_counter() - began))
    return [statistics.median(own) for own in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description="What is called unfamiliar, and what that costs.")
    parser.add_argument("known", type=Path, help="a folder with train/<class>/* and val/<class>/*")
    parser.add_argument("others", type=Path, nargs="+", help="a folder or .npz of other things")
    parser.add_argument("--sizes", type=int, nargs="+", default=[5, 15, 50])
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--most", type=int, default=1000, help="images of each of the others")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    train, val = read(args.known / "train"), read(args.known / "val")
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder, bar() as progress:
        store = open_store(Settings(home=Path(folder)))
        servable = first_version(store)
        spec = servable.manifest.input_spec
        groups = {"known": photos_of(val, spec)}
        groups |= {path.stem: images_of(path, spec, args.most) for path in args.others}
        groups |= {"blank walls": blank_walls(spec), "noise": noise(spec)}
        task = progress.add_task("embedding", total=len(groups) + 1)
        x_ND, seen = embed(servable, photos_of(train, spec)), []
        for images in groups.values():
            progress.advance(task)
            seen.append(embed(servable, images))
        shares = [flagged(train, x_ND, seen, size, args.draws) for size in args.sizes]
        progress.update(task, description="timing")
        cost = costs(store, servable, val.files[0].read_bytes(), args.rounds)
        store.db.close()
    title = f"Unfamiliar by the backbone {servable.manifest.backbone_name}, {args.draws} draws"
    show(title, ("labels a class", *groups), shares, markdown=args.markdown)
    columns = ("references", "MB", "ms without", "ms with", "added", "ms to load", "s to choose")
    show("One prediction", columns, cost, markdown=args.markdown)


if __name__ == "__main__":
    main()
