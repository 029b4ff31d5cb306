"""The model that all compared servers use: a pretrained one, or a backbone with a random head.

Random weights do not change the time of a prediction.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.inputs.pixels.decoding import PixelSpec
from core.models import standalone
from core.models.backbones import Backbone, Runtime
from core.models.head_onnx import head_onnx
from core.models.manifest import Manifest
from core.models.pretrained import choice as pretrained
from core.models.servable import HeadSession, golden
from core.registry import promotions, versions
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.store import Store, open_store

#: What a new installation serves.
DEFAULT = pretrained.NAMES[0]


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    pixels: PixelSpec
    # Backbone and head as one ONNX file.
    content: bytes
    # The bytes of backbone.onnx. None: version 1 has it.
    backbone: bytes | None

    def install(self, home: Path) -> None:
        """Make it the champion of a home whose server is not running."""
        store = open_store(Settings(home=home))
        first = self.name if self.name in pretrained.NAMES else pretrained.NAMES[0]
        ensure_first_version(store, first)
        if self.backbone is not None:
            version = _publish(store, self.name, self.backbone, self.pixels).version
            with store.db.write() as conn:
                promotions.request(conn, version, who="bench", why="to measure it", now=time.time())
                promotions.advance(conn, time.time())
        store.db.close()


def named(name: str) -> Model:
    """Build the model of a backbone. Names but the pretrained ones need the training extra."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Settings(home=Path(folder)))
        ensure_first_version(store, name if name in pretrained.NAMES else pretrained.NAMES[0])
        if name in pretrained.NAMES:
            backbone, manifest = None, first_manifest(store)
        else:
            backbone, pixels = exported(name)
            manifest = _publish(store, name, backbone, pixels)
        parts = store.blobs.get(manifest.backbone), store.blobs.get(manifest.head)
        store.db.close()
    return Model(name, manifest.input_spec, standalone.standalone(*parts, manifest), backbone)


def exported(name: str) -> tuple[bytes, PixelSpec]:
    """Return backbone.onnx and its pixels. Only the pretrained ones have trained weights."""
    if name in pretrained.NAMES:
        model = pretrained.load(name)
        return model.backbone, model.input_spec
    # Imported here, because it imports torch.
    from training.backbones.backbone import build
    from training.backbones.export import export_backbone

    module = build(name, pretrained=False)
    return export_backbone(module), module.pixels


def first_manifest(store: Store) -> Manifest:
    """Return the manifest of version 1."""
    with store.db.read() as conn:
        version = versions.get(conn, 1)
    return versions.read_manifest(version, store)


def _publish(store: Store, name: str, content: bytes, pixels: PixelSpec) -> Manifest:
    first = first_manifest(store)
    runtime = Runtime("cpu")
    digest = store.blobs.put(content)
    backbone = Backbone(content, digest, runtime)
    size = backbone.embed_golden(pixels, 0).shape[1]
    rng = np.random.default_rng(0)
    weights_DK = rng.standard_normal((size, len(first.classes))) / np.sqrt(size)
    head = head_onnx(weights_DK.astype(np.float32), np.zeros(len(first.classes), np.float32))
    manifest = replace(
        first,
        parent=1,
        input_spec=pixels,
        backbone_name=name,
        backbone=digest,
        head=store.blobs.put(head),
        embedding_size=size,
        golden=golden(backbone, HeadSession(head, runtime), pixels),
    )
    gate = {"promote": True, "reason": "a model to measure"}
    with store.db.write() as conn:
        return versions.publish(conn, store, manifest, gate)
