"""Versions for `bench.swap`: copies of version 1 whose weights differ slightly.

Each is a different file of the same size and speed. They are published while the server runs, as by
a trainer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.models import first_manifest
from core.models import starter
from core.models.backbones import Backbone, Runtime
from core.models.head_onnx import head_onnx
from core.models.manifest import Manifest
from core.models.servable import HeadSession, golden
from core.registry import versions
from core.store.store import Store

# Far too small to change a prediction.
_NOISE = 1e-3


def publish_heads(store: Store, count: int) -> Iterator[int]:
    """Publish new heads on the backbone of version 1. Yields the numbers of the versions."""
    first = first_manifest(store)
    backbone = Backbone(store.blobs.get(first.backbone), first.backbone, Runtime("cpu"))
    for seed in range(1, count + 1):
        yield _publish(store, first, backbone, seed)


def publish_backbones(store: Store, count: int) -> Iterator[int]:
    """Publish new weights in the same graph, each with a head and an optimised form of its own."""
    first = first_manifest(store)
    runtime = Runtime("cpu")
    for seed in range(1, count + 1):
        content = backbone_onnx(seed)
        digest = store.blobs.put(content)
        backbone = Backbone(content, digest, runtime)
        optimised = runtime.optimise(backbone, first.pixels, store.blobs)
        other = replace(first, backbone=digest, optimised=optimised)
        yield _publish(store, other, backbone, seed)


def backbone_onnx(seed: int) -> bytes:
    graph = (starter.FILES / "backbone.graph.onnx").read_bytes()
    rng = np.random.default_rng(seed)
    weights = {
        # Only convolutions, because a variance must stay positive.
        name: _perturbed(value, rng) if value.ndim == 4 else value
        for name, value in starter.backbone_weights().items()
    }
    return starter.bind_weights(graph, weights)


def _publish(store: Store, manifest: Manifest, backbone: Backbone, seed: int) -> int:
    head = starter.head()
    content = head_onnx(_perturbed(head.weights_DK, np.random.default_rng(seed)), head.bias_K)
    other = replace(
        manifest,
        parent=1,
        head=store.blobs.put(content),
        golden=golden(backbone, HeadSession(content, Runtime("cpu")), manifest.pixels),
    )
    gate = {"promote": True, "reason": "a variant of version 1, for measuring swaps"}
    with store.db.write() as conn:
        return versions.publish(conn, store.blobs, other, gate).version


def _perturbed(value: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    perturbed = value * (1 + _NOISE * rng.standard_normal(value.shape))
    return perturbed.astype(np.float32)
