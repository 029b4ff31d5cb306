from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from core.errors import ParityFailure
from core.models.backbones import Runtime
from core.models.manifest import Manifest
from core.models.pretrained import choice as pretrained
from core.models.servable import Servable, load
from core.models.standalone import TOLERANCE, standalone, verify
from core.registry.bootstrap import ensure_first_version
from core.registry.versions import get, read_manifest
from core.settings import Settings
from core.store.blobs import LocalBlobs
from core.store.store import Store, open_store
from tests.support import tiny

pytestmark = pytest.mark.slow  # not in `make check`

NUM_IMAGES = 3


def joined(manifest: Manifest, blobs: LocalBlobs) -> bytes:
    return standalone(blobs.get(manifest.backbone), blobs.get(manifest.head), manifest)


def predict(model: bytes, pixels_BHWC: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"pixels": pixels_BHWC}), strict=True))


def check_equals_service(model: bytes, servable: Servable) -> None:
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    size = servable.manifest.input_spec.size_px
    shape = (NUM_IMAGES, size, size, 3)
    pixels_BHWC = np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)
    scores, found = servable.predict(pixels_BHWC), predict(model, pixels_BHWC)
    assert found.keys() == {"embedding", "logits", "probabilities"}
    for name, expected in (
        ("embedding", scores.embedding_BD),
        ("logits", scores.logits_BK),
        ("probabilities", scores.probabilities_BK),
    ):
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=TOLERANCE * scale)
    assert verify(model, servable) <= TOLERANCE


@pytest.mark.parametrize("opset", [13, 15, 17])
def test_file_predicts_like_the_service(blobs: LocalBlobs, opset: int) -> None:
    manifest = tiny.make_manifest(blobs, backbone=blobs.put(tiny.backbone_onnx(opset=opset)))
    check_equals_service(joined(manifest, blobs), load(manifest, blobs, Runtime("cpu")))


@pytest.mark.parametrize("name", pretrained.NAMES)
def test_file_of_a_pretrained_model_predicts_like_the_service(
    sqlite_store: Store, name: str
) -> None:
    ensure_first_version(sqlite_store, name)
    with sqlite_store.db.read() as conn:
        manifest = read_manifest(get(conn, 1), sqlite_store)
    servable = load(manifest, sqlite_store.blobs, Runtime("cpu"))
    assert manifest.input_spec == pretrained.load(name).input_spec
    check_equals_service(joined(manifest, sqlite_store.blobs), servable)  # type: ignore[arg-type]


def test_file_names_its_version_classes_and_pixels(blobs: LocalBlobs) -> None:
    manifest = tiny.make_manifest(blobs, ("cat", "hot dog", "猫"), version=7)
    model = onnx.load_from_string(joined(manifest, blobs))
    facts = {prop.key: prop.value for prop in model.metadata_props}
    assert facts["classes"].split("\n") == ["cat", "hot dog", "猫"]
    assert (facts["version"], facts["size_px"], facts["crop_fraction"]) == ("7", "8", "1.0")
    assert (model.producer_name, model.model_version) == ("evergreen", 7)
    assert [value.name for value in model.graph.input] == ["pixels"]


def test_same_version_gives_the_same_file(blobs: LocalBlobs) -> None:
    manifest = tiny.make_manifest(blobs)
    assert joined(manifest, blobs) == joined(manifest, blobs)


def test_file_of_another_version_fails_verification(blobs: LocalBlobs) -> None:
    one = tiny.make_manifest(blobs, head_seed=1, version=1)
    other = tiny.make_manifest(blobs, head_seed=2, version=2)
    with pytest.raises(ParityFailure, match=r"model\.onnx of version 1 differs"):
        verify(joined(other, blobs), load(one, blobs, Runtime("cpu")))


def test_file_of_texts_has_the_tokenizer_of_its_backbone(tmp_path: Path) -> None:
    store = open_store(Settings(home=tmp_path, input="text"))
    ensure_first_version(store, classes=("billing", "bug"))
    with store.db.read() as conn:
        manifest = read_manifest(get(conn, 1), store)
    servable = load(manifest, store.blobs, Runtime("cpu"))
    model = joined(manifest, store.blobs)
    store.db.close()
    assert verify(model, servable) <= TOLERANCE
    metadata = onnxruntime.InferenceSession(model).get_modelmeta().custom_metadata_map
    assert metadata["classes"] == "billing\nbug"
    text, reader = b"the invoice is wrong", manifest.input_spec.reader(metadata)
    assert (reader.decode(text).array == servable.reader.decode(text).array).all()
