"""Examples by the row, and versions whose head predicts class k for an embedding along axis k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sqlalchemy import insert, select

from core.labelling import embeddings, labels
from core.models.backbones import Backbone, Runtime
from core.models.head_onnx import head_onnx
from core.models.manifest import Manifest
from core.models.servable import HeadSession, golden
from core.store import schema
from core.store.store import Store
from tests.support import tiny


def add_examples(
    store: Store, names: Sequence[str], *, is_held_out: bool = True, prefix: str = "a"
) -> list[int]:
    """Label an example with each name. Returns their ids."""
    images = [f"{prefix}{i:063x}" for i in range(len(names))]
    rows = [
        {
            **{"image": image, "num_bytes": 1, "width": 1, "height": 1, "source": "test"},
            **{"is_held_out": is_held_out, "group_id": image, "thumb": b"", "created_at": 1.0},
            **{f"band_{k}": 0 for k in range(4)},
        }
        for image in images
    ]
    with store.db.write(durable=False) as conn:
        conn.execute(insert(schema.examples), rows)
        found = conn.execute(select(schema.examples.c.image, schema.examples.c.id)).all()
        id_of = {row.image: row.id for row in found}
        ids = [id_of[image] for image in images]
        events = [
            {"example_id": example_id, "label": name, "who": "ann", "created_at": 1.0}
            for example_id, name in zip(ids, names, strict=True)
        ]
        labels.lock_order(conn)
        conn.execute(insert(schema.labels), events)
    return ids


def embed(store: Store, backbone: str, axes: Mapping[int, int]) -> None:
    """Store an embedding along an axis for each example."""
    rows = [
        (example_id, np.eye(tiny.EMBEDDING_SIZE, dtype=np.float32)[axis])
        for example_id, axis in axes.items()
    ]
    with store.db.write(durable=False) as conn:
        embeddings.put(conn, backbone, rows)


def publish(store: Store, classes: Sequence[str], **fields: Any) -> Manifest:
    """At most as many classes as the embedding has numbers."""
    weights_DK = 20 * np.eye(tiny.EMBEDDING_SIZE, len(classes), dtype=np.float32)
    temperature = 1 + ord(classes[0][0]) / 1_000  # a head of its own
    head = head_onnx(weights_DK, np.zeros(len(classes), np.float32), temperature)
    runtime = Runtime("cpu")
    backbone = Backbone(tiny.backbone_onnx(), "", runtime)
    expected = golden(backbone, HeadSession(head, runtime), tiny.SPEC)
    fields = {"head": store.blobs.put(head), "golden": expected, **fields}
    manifest = tiny.make_manifest(store.blobs, classes, **fields)
    number = tiny.publish(store, manifest)
    return replace(manifest, version=number)
