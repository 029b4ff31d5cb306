"""Version 1, published from a pretrained model, so that a new installation can predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.audit import SERVICE
from core.errors import InvalidRequest
from core.models.backbones import Backbone, Runtime
from core.models.head_onnx import head_onnx
from core.models.manifest import Manifest, code_revision, library_versions
from core.models.pretrained import choice as pretrained
from core.models.servable import HeadSession, golden
from core.registry import promotions, versions
from core.registry.zero_shot import zero_shot_head
from core.store.store import Store


def ensure_first_version(store: Store, name: str = "", classes: Sequence[str] = ()) -> bool:
    """Publish and activate version 1, unless there is a version. Returns whether it did.

    `name` is one of `pretrained.names(store.kind)`, by default the first. With `classes`, it
    predicts by the likeness to their names. Processes may call it concurrently. Raises StoreError,
    SpecMismatch if the model's weights are not installed, InvalidLabel, or InvalidRequest if the
    home cannot have this model or these classes.
    """
    known = pretrained.names(store.kind)
    name = name or known[0]
    with store.db.read() as conn:
        if versions.newest_number(conn) is not None:
            return False
    if name not in known:
        raise InvalidRequest(
            f"version 1 of a home of {store.kind.plural} cannot have the backbone {name!r}: name "
            f"{' or '.join(known)}"
        )
    why = f"the pretrained {name}"
    gate = {"promote": True, "reason": f"{why}; there was nothing before it"}
    with store.db.write() as conn, store.db.unlimited(conn):
        # One process publishes it, and the others wait, however long its upload takes.
        promotions.lock(conn)
        if versions.newest_number(conn) is not None:
            return False
        manifest = _manifest(store, name, classes)
        published = versions.publish(conn, store, manifest, gate, SERVICE)
        promotions.request(
            conn, published.version, who="evergreen", why=why, now=manifest.created_at
        )
        promotions.advance(conn, manifest.created_at)
    return True


def _manifest(store: Store, name: str, classes: Sequence[str]) -> Manifest:
    runtime = Runtime("cpu")
    model = pretrained.load(name)
    backbone_digest = store.blobs.put(model.backbone)
    backbone = Backbone(model.backbone, backbone_digest, runtime)
    head = model.head
    metrics: dict[str, Any] = {"pretrained": model.figures}
    if classes:
        head = zero_shot_head(model, backbone, classes)
        metrics["zero_shot"] = True
    head_bytes = head_onnx(head.weights_DK, head.bias_K)
    return Manifest(
        version=0,
        parent=None,
        run_id=None,
        tier="head",
        created_at=store.db.clock(),
        classes=head.classes,
        input_spec=model.input_spec,
        backbone_name=name,
        backbone=backbone_digest,
        head=store.blobs.put(head_bytes),
        embedding_size=head.weights_DK.shape[0],
        backbone_snapshot=0,
        temperature=1.0,
        abstain_below=None,
        snapshot=0,
        num_trained=0,
        num_held_out=0,
        metrics=metrics,
        parity=0.0,
        golden=golden(backbone, HeadSession(head_bytes, runtime), model.input_spec),
        libraries=library_versions(),
        code_revision=code_revision(),
        quantised_from=None if model.in_float32 is None else store.blobs.put(model.in_float32),
    )
