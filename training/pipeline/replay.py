"""Train the head of a version again, from its snapshot, and compare the files.

The same code, libraries and machine give the same bytes. Sums in another order, as on another
CPU, change the last digits, and then the difference of the probabilities says how much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from threadpoolctl import threadpool_limits

from core.errors import InvalidRequest
from core.labelling import labels
from core.models.head_onnx import head_onnx
from core.models.manifest import Manifest, code_revision, library_versions
from core.models.servable import HeadSession
from core.registry import versions
from core.registry.versions import Version
from core.store.blobs import sha256
from training.backbones.backbone_ref import BackboneRef
from training.dataset import assemble
from training.embeddings import embed
from training.pipeline.challenge import fit_challenger
from training.pipeline.context import RunContext
from training.recipe import Recipe

_MAX_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Replay:
    version: int
    # SHA-256 of head.onnx, as published and as trained now.
    published: str
    replayed: str
    num_trained: int
    # Of any class, over at most 10,000 examples; 0 to 1.
    largest_difference: float
    # Ids of examples whose images could not be read.
    left_out: tuple[int, ...]
    # What differs from the machine that published it: then, now.
    changes: dict[str, tuple[str, str]]

    @property
    def is_same(self) -> bool:
        return self.published == self.replayed


def replay(
    context: RunContext, version: Version, progress: Callable[[float], None] = lambda _: None
) -> Replay:
    """Writes nothing but missing embeddings. `progress` gets the share of embeddings, 0 to 1.

    Raises InvalidRequest if no run trained the version, or an older release did so with a recipe
    that this one does not know; ArtifactError, StoreError.
    """
    store = context.store
    manifest = versions.read_manifest(version, store)
    if manifest.parent is None or not manifest.snapshot:
        raise InvalidRequest(
            f"version {version.number} was not trained on labels; replay one that a run made"
        )
    context = replace(context, recipe=_recipe_of(manifest))
    with store.db.read() as conn:
        parent = versions.read_manifest(versions.get(conn, manifest.parent), store)
        rows = labels.current(conn, manifest.snapshot)
    candidate = BackboneRef.from_manifest(manifest)
    backbone = context.runtime.backbone(manifest.backbone, store.blobs)
    vectors = embed(store, backbone, manifest.input_spec, rows, context.limits, progress)
    dataset = assemble(rows, vectors, manifest.classes)
    with threadpool_limits(1):  # as in a run
        head = fit_challenger(context, candidate, dataset, parent, lambda: False).head
    model = head_onnx(head.weights_DK, head.bias_K, head.temperature, of_unit_rms=True)
    some_ND = dataset.x_ND[:_MAX_ROWS].astype(np.float32)
    before = HeadSession(store.blobs.get(manifest.head), context.runtime)
    after = HeadSession(model, context.runtime)
    (_, then_NK), (_, now_NK) = before.score(some_ND), after.score(some_ND)
    return Replay(
        version=version.number,
        published=manifest.head,
        replayed=sha256(model),
        num_trained=dataset.num_trained,
        largest_difference=float(np.abs(then_NK - now_NK).max()),
        left_out=tuple(row.example_id for row in rows if row.example_id not in vectors),
        changes=_changes(manifest),
    )


def _recipe_of(manifest: Manifest) -> Recipe:
    fields: dict[str, Any] = {k: v for k, v in manifest.recipe.items() if k != "penalty"}
    try:
        return TypeAdapter(Recipe).validate_python(fields)
    except ValidationError as error:
        raise InvalidRequest(
            f"version {manifest.version} was trained with a recipe of another release; replay it "
            "with the release that its manifest names"
        ) from error


def _changes(manifest: Manifest) -> dict[str, tuple[str, str]]:
    then = manifest.libraries | {"code": manifest.code_revision}
    now = library_versions() | {"code": code_revision()}
    names = sorted(then.keys() | now.keys())
    return {
        name: (then.get(name, ""), now.get(name, ""))
        for name in names
        if then.get(name, "") != now.get(name, "")
    }
