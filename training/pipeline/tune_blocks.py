"""Fine-tune the backbone that the champion's comes from on all labels: what a run of tier `blocks`
begins with. It starts at pretrained weights (`training/blocks/starting_point.py`), not at the
champion's.

Owns the way from label rows to the arrays that `torch_tune` learns from, and from its result to a
stored backbone. The rest of the run is that of any other (`training/pipeline/run.py`).
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import StoreError
from core.inputs import pixels
from core.inputs.pixels import Limits, PixelSpec
from core.labelling import labels
from core.labelling.census import check_enough, take_census
from core.labelling.labels import CurrentLabel
from core.models.manifest import Manifest
from core.registry import promotions, versions
from core.runs import Run
from core.store.store import Store
from training.backbones.backbone import Backbone, from_onnx
from training.backbones.backbone_ref import BackboneRef
from training.backbones.export import export_backbone
from training.backbones.quantise import as_int8, evenly
from training.blocks.device import use_half_the_cores
from training.blocks.finetune import Tuned, tune
from training.blocks.starting_point import StartingPoint, choose_starting_point
from training.dataset import Dataset, assemble
from training.embeddings import embed
from training.head.crossval import assign_folds
from training.head.fit import fit_head
from training.pipeline.context import Workshop
from training.pipeline.progress import Handed, Progress
from training.tune_recipe import BlocksRecipe

# One fold of these chooses the epoch; the others learn.
_NUM_FOLDS = 5

log = logging.getLogger(__name__)


def tune_champion(shop: Workshop, run: Run, progress: Progress) -> BackboneRef | str:
    """The pretrained backbone with its last blocks fine-tuned; or why it is not worth trying.

    Raises NotEnoughLabels, Diverged, SpecMismatch, Stopped or Handed. A run that was handed back
    goes on after its last epoch, on the labels that it began with; any other leaves no files.
    """
    folder = shop.cache / "runs" / run.id
    try:
        found = _tune_champion(shop, run, folder, progress)
    except (Handed, StoreError):
        raise  # it will be tried again, from its checkpoint
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return found


def _tune_champion(shop: Workshop, run: Run, folder: Path, progress: Progress) -> BackboneRef | str:
    use_half_the_cores()
    store = shop.store
    with store.db.read() as conn:
        snapshot = run.snapshot or labels.newest_id(conn)
        rows = [row for row in labels.current(conn, snapshot) if not row.is_held_out]
    census = take_census(rows)
    check_enough(census)
    progress.note_labels(snapshot, shop.recipe)
    manifest = _champion(store)
    start = _starting_point(store, run, manifest, progress)
    # The head that it begins with is fitted on the embeddings of this backbone.
    dataset = _dataset(shop, start.digest, manifest.pixels, rows, census.classes, progress)
    pixels_NHWC = _decode(store, dataset, rows, manifest.pixels, shop.limits, folder, progress)
    backbone = from_onnx(manifest.backbone_name, store.blobs.get(start.digest))
    tuned = _tune(shop, run, backbone, dataset, pixels_NHWC, folder, progress)
    # Says whether it was cancelled, handed back, or neither.
    progress.tell("exporting", 0.99)
    if not tuned.improved:
        return (
            f"held back: {len(tuned.history)} epochs found nothing better than {start}, which "
            f"gets {_percent(tuned.before.accuracy)} right"
        )
    candidate = BackboneRef(
        manifest.backbone_name,
        store.blobs.put(export_backbone(tuned.backbone)),
        manifest.pixels,
        manifest.embedding_size,
        snapshot,
        tuned_from=start.tuned_from,
    )
    if manifest.quantised_from is None:
        return candidate
    photos_NHWC = pixels_NHWC[evenly(len(pixels_NHWC))]
    return as_int8(candidate, photos_NHWC, store.blobs, lambda _: progress.tell("quantising", 0.99))


def _champion(store: Store) -> Manifest:
    with store.db.read() as conn:
        newest = promotions.newest_activation(conn)
        assert newest is not None  # a store has version 1
        version = versions.get(conn, newest.version)
    return versions.read_manifest(version, store.blobs)


def _starting_point(
    store: Store, run: Run, manifest: Manifest, progress: Progress
) -> StartingPoint:
    start = choose_starting_point(manifest, store.blobs)
    if start.exception is not None:
        log.warning("backbone.not_pretrained", extra={"run_id": run.id, "reason": start.exception})
        progress.tell("going on from a tuned backbone", 0.0)
    return start


def _dataset(
    shop: Workshop,
    digest: str,
    spec: PixelSpec,
    rows: Sequence[CurrentLabel],
    classes: tuple[str, ...],
    progress: Progress,
) -> Dataset:
    backbone = shop.runtime.backbone(digest, shop.store.blobs)
    vectors = embed(
        shop.store,
        backbone,
        spec,
        rows,
        shop.limits,
        lambda fraction: progress.tell("embedding", 0.05 * fraction),
    )
    return assemble(rows, vectors, classes)


def _decode(
    store: Store,
    dataset: Dataset,
    rows: Sequence[CurrentLabel],
    spec: PixelSpec,
    limits: Limits,
    folder: Path,
    progress: Progress,
) -> NDArray[np.uint8]:
    """The pixels of every row, on disk: a photo is decoded once, not once an epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    images = {row.example_id: row.image for row in rows}
    shape = (len(dataset), spec.size_px, spec.size_px, 3)
    pixels_NHWC = np.lib.format.open_memmap(
        folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape
    )
    for i, example_id in enumerate(dataset.example_id_N):
        content = store.blobs.get(images[int(example_id)])
        pixels_NHWC[i] = pixels.decode(content, spec, limits)
        progress.tell("decoding", 0.05 + 0.1 * i / len(dataset))
    return pixels_NHWC


def _tune(
    shop: Workshop,
    run: Run,
    backbone: Backbone,
    dataset: Dataset,
    pixels_NHWC: NDArray[np.uint8],
    folder: Path,
    progress: Progress,
) -> Tuned:
    fold_N = assign_folds(dataset.group_N, dataset.y_N, _NUM_FOLDS)
    is_held_out_N = fold_N == 0
    head = fit_head(dataset.part(~is_held_out_N), shop.recipe.head, score_all=False).head
    recipe = _recipe_of(shop.recipe.blocks, run, len(backbone.blocks))
    return tune(
        backbone,
        head,
        pixels_NHWC,
        dataset.y_N,
        is_held_out_N,
        recipe,
        folder,
        should_stop=progress.should_stop,
        on_progress=lambda fraction, text, _: progress.tell(text, 0.15 + 0.8 * fraction),
    )


def _recipe_of(recipe: BlocksRecipe, run: Run, num_blocks: int) -> BlocksRecipe:
    """The recipe, with what was asked for or planned."""
    wanted = run.parameters.get("wanted", {})
    chosen = {name: wanted[name] for name in ("epochs", "minutes") if wanted.get(name)}
    if wanted.get("share"):
        chosen["depth"] = max(1, round(wanted["share"] * num_blocks))
    recipe = replace(recipe, **chosen)
    return replace(recipe, depth=min(recipe.depth, num_blocks))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
