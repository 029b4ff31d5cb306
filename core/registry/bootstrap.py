"""Version 1, published from the bundled starter, so that a new installation can predict."""

from __future__ import annotations

import time

from core.models import starter
from core.models.backbones import Backbone, Runtime
from core.models.head_onnx import head_onnx
from core.models.manifest import Manifest, code_revision, library_versions
from core.models.servable import HeadSession, golden
from core.registry import promotions, versions
from core.store.store import Store

STARTER = "starter"


def ensure_first_version(store: Store) -> bool:
    """Publish and activate version 1, unless there is a version. Returns whether it did.

    Processes may call it concurrently. Raises StoreError.
    """
    with store.db.read() as conn:
        if versions.newest_number(conn) is not None:
            return False
    gate = {"promote": True, "reason": "the bundled starter; there was nothing before it"}
    with store.db.write() as conn:
        # One process publishes it, and the others wait.
        promotions.lock(conn)
        if versions.newest_number(conn) is not None:
            return False
        manifest = _starter_manifest(store)
        published = versions.publish(conn, store.blobs, manifest, gate)
        promotions.request(
            conn,
            published.version,
            who="evergreen",
            why="the bundled starter",
            now=manifest.created_at,
        )
        promotions.advance(conn, manifest.created_at)
    return True


def _starter_manifest(store: Store) -> Manifest:
    runtime = Runtime("cpu")
    head = starter.head()
    backbone_bytes = starter.backbone_onnx()
    head_bytes = head_onnx(head.weights_DK, head.bias_K)
    backbone_digest = store.blobs.put(backbone_bytes)
    spec = starter.pixel_spec()
    backbone = Backbone(backbone_bytes, backbone_digest, runtime)
    card = starter.provenance()
    return Manifest(
        version=0,
        parent=None,
        run_id=None,
        tier="head",
        created_at=time.time(),
        classes=head.classes,
        pixels=spec,
        backbone_name=STARTER,
        backbone=backbone_digest,
        head=store.blobs.put(head_bytes),
        embedding_size=head.weights_DK.shape[0],
        backbone_snapshot=0,
        temperature=1.0,
        abstain_below=None,
        snapshot=0,
        num_trained=0,
        num_held_out=0,
        metrics={"starter": card["figures"]},
        parity=0.0,
        golden=golden(backbone, HeadSession(head_bytes, runtime), spec),
        libraries=library_versions(),
        code_revision=code_revision(),
    )
