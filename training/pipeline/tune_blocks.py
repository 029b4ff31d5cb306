"""The first stage of a run of tier `blocks`: fine-tune the backbone on all training rows.

It starts at pretrained weights (`training/blocks/starting_point.py`), not at the champion's. It
makes arrays of the labels, has `training/blocks/finetune.py` learn from them, and stores the new
backbone. The other stages are those of any run (`training/pipeline/run.py`).

Suffix: N rows.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.class_names import is_class
from core.errors import UNUSABLE_IMAGE, StoreError
from core.inputs.kind import InputSpec
from core.labelling import labels, lost_images
from core.labelling.census import check_enough, take_census
from core.labelling.labels import CurrentLabel
from core.models.backbones import Backbone as OnnxBackbone
from core.models.manifest import Manifest
from core.registry import promotions, versions
from core.runs import Run
from core.store import lost_blobs
from core.store.store import Store
from core.system.background import call_back
from training.backbones.backbone_ref import BackboneRef
from training.backbones.networks import Network, export, from_onnx
from training.blocks.device import use_half_the_cores
from training.blocks.finetune import Tuned, tune
from training.blocks.inputs import TuningInputs
from training.blocks.rooms import room_of
from training.blocks.starting_point import StartingPoint, choose_starting_point
from training.dataset import Dataset, assemble, trainable_classes
from training.embeddings import embed
from training.head.crossval import assign_folds
from training.head.fit import fit_head
from training.pipeline.context import RunContext
from training.pipeline.progress import Progress, RunHandedBack
from training.recipe import TuningRecipe

# One fold chooses the epoch, and the others are trained on.
_NUM_FOLDS = 5

log = logging.getLogger(__name__)


def tune_champion(context: RunContext, run: Run, progress: Progress) -> BackboneRef | str:
    """Return the pretrained backbone with its last blocks fine-tuned, or why tuning gained nothing.

    Raises NotEnoughLabels, Diverged, SpecMismatch, RunCancelled or RunHandedBack. A run that was
    handed back resumes after its last epoch, on its first snapshot. Any other leaves no files.
    """
    folder = context.cache / "runs" / run.id
    try:
        tuned = _tune_champion(context, run, folder, progress)
    except (RunHandedBack, StoreError):
        raise  # the next attempt needs the checkpoint
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return tuned


def _tune_champion(
    context: RunContext, run: Run, folder: Path, progress: Progress
) -> BackboneRef | str:
    use_half_the_cores()
    store = context.store
    with store.db.read() as conn:
        snapshot = run.snapshot or labels.newest_id(conn)
        current = labels.current(conn, snapshot)
    rows = [row for row in current if not row.is_held_out and is_class(row.label)]
    check_enough(take_census(rows))
    progress.record_snapshot(snapshot, context.recipe, len(rows))
    manifest = _champion(store)
    start = _starting_point(store, run, manifest, progress)
    # The first head is fitted on the embeddings of the backbone where tuning starts.
    inputs, dataset = _read(context, start.digest, manifest.input_spec, rows, folder, progress)
    backbone = from_onnx(manifest.backbone_name, store.blobs.get(start.digest, keep=True))
    recipe = _apply_request(
        room_of(manifest.input_spec).recipe(context.recipe),
        run.parameters.get("wanted", {}),
        len(backbone.blocks),
    )
    tuned = _tune(context, recipe, backbone, dataset, inputs, folder, progress)
    # Raises if tuning stopped because the run was cancelled or handed back.
    progress.report("exporting", 0.99)
    if not tuned.improved:
        return (
            f"held back: {len(tuned.history)} epochs gave nothing better than {start}, with an "
            f"accuracy of {_percent(tuned.before.accuracy)}"
        )
    candidate = BackboneRef(
        manifest.backbone_name,
        store.blobs.put(export(tuned.backbone)),
        manifest.input_spec,
        manifest.embedding_size,
        snapshot,
        tuned_from=start.tuned_from,
    )
    if manifest.quantised_from is None:
        return candidate
    return inputs.as_int8(candidate, store.blobs, lambda _: progress.report("quantising", 0.99))


def _champion(store: Store) -> Manifest:
    with store.db.read() as conn:
        newest = promotions.newest_activation(conn)
        assert newest is not None  # a store has version 1
        version = versions.get(conn, newest.version)
    return versions.read_manifest(version, store)


def _starting_point(
    store: Store, run: Run, manifest: Manifest, progress: Progress
) -> StartingPoint:
    start = choose_starting_point(manifest, store.blobs)
    if start.exception is not None:
        log.warning("backbone.not_pretrained", extra={"run_id": run.id, "reason": start.exception})
        progress.report("continuing from a tuned backbone", 0.0)
    return start


def _read(
    context: RunContext,
    digest: str,
    spec: InputSpec,
    rows: Sequence[CurrentLabel],
    folder: Path,
    progress: Progress,
) -> tuple[TuningInputs, Dataset]:
    # Tuning takes much memory, and does not need this one.
    backbone = context.runtime.backbone(digest, context.store.blobs)
    dataset = _dataset(context, backbone, spec, rows, progress)
    return _decode(context, dataset, rows, backbone, spec, folder, progress)


def _dataset(
    context: RunContext,
    backbone: OnnxBackbone,
    spec: InputSpec,
    rows: Sequence[CurrentLabel],
    progress: Progress,
) -> Dataset:
    vectors = embed(
        context.store,
        backbone,
        spec,
        rows,
        context.limits,
        lambda fraction: progress.report("embedding", 0.05 * fraction),
    )
    left_out = [row.example_id for row in rows if row.example_id not in vectors]
    rows = [row for row in rows if row.example_id in vectors]
    return assemble(rows, vectors, trainable_classes(rows, left_out))


def _decode(
    context: RunContext,
    dataset: Dataset,
    rows: Sequence[CurrentLabel],
    backbone: OnnxBackbone,
    spec: InputSpec,
    folder: Path,
    progress: Progress,
) -> tuple[TuningInputs, Dataset]:
    """Decode each input once, not once an epoch, to a file.

    Returns them and their rows: an input that cannot be read any more is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = {row.example_id: row.image for row in rows}
    reader = backbone.reader(spec)
    writer = room_of(spec).writer(folder, len(dataset))
    is_readable_N = np.ones(len(dataset), np.bool_)
    lost: dict[str, str] = {}
    for i, example_id in enumerate(dataset.example_id_N):
        try:
            content = context.store.blobs.get(images[int(example_id)])
            writer.add(reader.decode(content, context.limits).array)
        except UNUSABLE_IMAGE as error:
            is_readable_N[i] = False
            log.warning("example.left_out", extra={"example": int(example_id), "error": str(error)})
            problem = lost_blobs.problem_of(error)
            if problem is not None:
                lost[images[int(example_id)]] = problem
        progress.report("decoding", 0.05 + 0.1 * i / len(dataset))
    call_back(partial(lost_images.mark_lost, context.store, lost, context.store.db.clock()))
    return writer.finish(), dataset.part(is_readable_N)


def _tune(
    context: RunContext,
    recipe: TuningRecipe,
    backbone: Network,
    dataset: Dataset,
    inputs: TuningInputs,
    folder: Path,
    progress: Progress,
) -> Tuned:
    fold_N = assign_folds(dataset.group_N, dataset.y_N, _NUM_FOLDS)
    is_held_out_N = fold_N == 0
    head = fit_head(dataset.part(~is_held_out_N), context.recipe.head, score_all=False).head

    def on_progress(fraction: float, text: str, figures: dict[str, float]) -> None:
        if "epoch" in figures:
            progress.record_epoch(figures)
        progress.report(text, 0.15 + 0.8 * fraction)

    return tune(
        backbone,
        head,
        inputs,
        dataset.y_N,
        is_held_out_N,
        recipe,
        folder,
        should_stop=progress.should_stop,
        on_progress=on_progress,
    )


def _apply_request(
    recipe: TuningRecipe, wanted: Mapping[str, Any], num_blocks: int
) -> TuningRecipe:
    """Apply the request or the plan to the recipe."""
    chosen = {name: wanted[name] for name in ("epochs", "minutes") if wanted.get(name)}
    if wanted.get("share"):
        chosen["depth"] = max(1, round(wanted["share"] * num_blocks))
    if "epochs" in chosen:  # a plan counts inputs alone, and encoders of texts overfit sooner
        chosen["epochs"] = min(chosen["epochs"], 2 * recipe.epochs)
    recipe = replace(recipe, **chosen)
    return replace(recipe, depth=min(recipe.depth, num_blocks))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
