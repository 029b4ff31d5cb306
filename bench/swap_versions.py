"""Versions for `bench.swap`: copies of version 1 whose weights differ slightly.

Each is a different file of the same size and speed. They are published while the server runs, as by
a trainer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.models import first_manifest
from core.models.backbones import Backbone, Runtime
from core.models.binding import bind_weights
from core.models.head_onnx import head_onnx
from core.models.manifest import Manifest
from core.models.pretrained import lite0
from core.models.servable import HeadSession, golden
from core.registry import versions
from core.store.store import Store

# Far too small to change a prediction.
_NOISE = 1e-3


def publish_heads(store: Store, count: int, cache: Path) -> Iterator[int]:
    """New heads on the backbone of version 1. Gives the numbers of the versions."""
    first = first_manifest(store)
    backbone = Runtime("cpu", cache=cache).backbone(first.backbone, store.blobs)
    for seed in range(1, count + 1):
        yield _publish(store, first, backbone, seed)


def publish_backbones(store: Store, count: int, cache: Path) -> Iterator[int]:
    """New weights in the same graph, each with a head of its own. Like a trainer on the server's
    machine, this leaves their optimised forms in the server's cache."""
    first = first_manifest(store)
    runtime = Runtime("cpu", cache=cache)
    for seed in range(1, count + 1):
        digest = store.blobs.put(backbone_onnx(seed))
        backbone = runtime.backbone(digest, store.blobs)
        yield _publish(store, replace(first, backbone=digest), backbone, seed)


def backbone_onnx(seed: int) -> bytes:
    graph = (lite0.FILES / "backbone.graph.onnx").read_bytes()
    rng = np.random.default_rng(seed)
    weights = {
        # Only convolutions, because a variance must stay positive.
        name: _perturbed(value, rng) if value.ndim == 4 else value
        for name, value in lite0.backbone_weights().items()
    }
    return bind_weights(graph, weights)


def _publish(store: Store, manifest: Manifest, backbone: Backbone, seed: int) -> int:
    head = lite0.head()
    content = head_onnx(_perturbed(head.weights_DK, np.random.default_rng(seed)), head.bias_K)
    other = replace(
        manifest,
        parent=1,
        head=store.blobs.put(content),
        golden=golden(backbone, HeadSession(content, Runtime("cpu")), manifest.input_spec),
    )
    gate = {"promote": True, "reason": "a variant of version 1, for measuring swaps"}
    with store.db.write() as conn:
        return versions.publish(conn, store, other, gate).version


def _perturbed(value: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    perturbed = value * (1 + _NOISE * rng.standard_normal(value.shape))
    return perturbed.astype(np.float32)
