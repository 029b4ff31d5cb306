"""Tiny models: ONNX files of one kilobyte, published like any other version.

B images, H/W pixels, D embedding, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from core.inputs.pixels.decoding import PixelSpec
from core.models.backbones import Backbone, Runtime
from core.models.head_onnx import head_onnx
from core.models.manifest import Golden, Manifest
from core.models.servable import HeadSession, golden
from core.registry import promotions, versions
from core.store.blobs import Blobs
from core.store.store import Store

SPEC = PixelSpec(size_px=8)
EMBEDDING_SIZE = 4
# The sums of a batch may have another order than those of one image.
BATCH_ATOL = 1e-5
PASSED: dict[str, Any] = {"promote": True, "reason": "it is better"}


def backbone_onnx(
    seed: int = 0, size_px: int = SPEC.size_px, opset: int = 13, batch: int | str = "B"
) -> bytes:
    """The mean colour times a random matrix [3, D], plus a random vector.

    A trained head sees only the embedding's direction. The vector makes that direction depend on
    the brightness too.
    """
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 1, (3, EMBEDDING_SIZE)).astype(np.float32)
    offset = rng.normal(0, 1, EMBEDDING_SIZE).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["pixels"], ["levels"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["levels", "white"], ["lights"]),
            helper.make_node("ReduceMean", ["lights"], ["colour"], axes=[1, 2], keepdims=0),
            helper.make_node("MatMul", ["colour", "weights"], ["product"]),
            helper.make_node("Add", ["product", "offset"], ["embedding"]),
        ],
        "backbone",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [batch, size_px, size_px, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, EMBEDDING_SIZE])],
        [
            numpy_helper.from_array(np.asarray(255, np.float32), "white"),
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(offset, "offset"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def head(num_classes: int, seed: int = 1, size: int = EMBEDDING_SIZE) -> bytes:
    rng = np.random.default_rng(seed)
    weights_DK = rng.normal(0, 1, (size, num_classes)).astype(np.float32)
    return head_onnx(weights_DK, rng.normal(0, 1, num_classes).astype(np.float32), 1.5)


def make_manifest(
    blobs: Blobs,
    classes: Sequence[str] = ("cat", "dog"),
    *,
    backbone_seed: int = 0,
    head_seed: int = 1,
    **fields: Any,
) -> Manifest:
    """The manifest of a version whose files are stored. `fields` replace its own."""
    backbone, head_bytes = backbone_onnx(backbone_seed), head(len(classes), head_seed)
    runtime = Runtime("cpu")
    manifest = Manifest(
        version=0,
        parent=None,
        run_id=None,
        tier="head",
        created_at=time.time(),
        classes=tuple(classes),
        input_spec=SPEC,
        backbone_name="tiny",
        backbone=blobs.put(backbone),
        head=blobs.put(head_bytes),
        embedding_size=EMBEDDING_SIZE,
        backbone_snapshot=0,
        temperature=1.5,
        abstain_below=None,
        snapshot=0,
        num_trained=0,
        num_held_out=0,
        metrics={},
        parity=0.0,
        golden=golden(Backbone(backbone, "", runtime), HeadSession(head_bytes, runtime), SPEC),
    )
    return replace(manifest, **fields)


def plain_manifest(**fields: Any) -> Manifest:
    """A manifest whose files do not exist, for code that never loads them."""
    manifest = Manifest(
        version=0,
        parent=None,
        run_id=None,
        tier="head",
        created_at=1_700_000_000.25,
        classes=("cat", "dog"),
        input_spec=SPEC,
        backbone_name="tiny",
        backbone="b" * 64,
        head="a" * 64,
        embedding_size=EMBEDDING_SIZE,
        backbone_snapshot=0,
        temperature=1.0,
        abstain_below=0.4,
        snapshot=0,
        num_trained=0,
        num_held_out=0,
        metrics={},
        parity=0.0,
        golden=Golden(0, (0.5, -0.5)),
    )
    return replace(manifest, **fields)


def publish(store: Store, manifest: Manifest | None = None, gate: dict[str, Any] = PASSED) -> int:
    """Publish a version, by default one without files. Returns its number."""
    with store.db.write() as conn:
        manifest = manifest or plain_manifest()
        return versions.publish(conn, store, manifest, gate).version


def activate(store: Store, version: int, now: float = 0.0) -> promotions.Activation:
    """Make a version champion, as where no worker is alive."""
    with store.db.write() as conn:
        promotions.request(conn, version, who="test", why="test", now=now)
        activation = promotions.advance(conn, now)
    assert activation is not None
    return activation
