import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest

from core.errors import SpecMismatch
from core.models.binding import bind_weights, bound_weights
from core.models.pretrained import starter

# onnxruntime may split work differently by batch size; embeddings reach about 4.
BATCH_ATOL = 1e-5
BUNDLE_LIMIT_BYTES = 5_000_000


@pytest.fixture(scope="module")
def backbone() -> bytes:
    return starter.backbone_onnx()


@pytest.fixture(scope="module")
def session(backbone: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(backbone, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def pixels_BHWC() -> np.ndarray:
    size = starter.pixel_spec().size_px
    return np.random.default_rng(7).integers(0, 256, (3, size, size, 3), dtype=np.uint8)


def test_backbone_passes_the_full_onnx_check(backbone: bytes) -> None:
    onnx.checker.check_model(onnx.load_from_string(backbone), full_check=True)


def test_backbone_has_the_inputs_and_outputs_of_every_backbone(
    session: onnxruntime.InferenceSession,
) -> None:
    (given,), (got,) = session.get_inputs(), session.get_outputs()
    size = starter.pixel_spec().size_px
    assert (given.name, given.type, given.shape) == (
        "pixels",
        "tensor(uint8)",
        ["B", size, size, 3],
    )
    assert (got.name, got.type, got.shape) == ("embedding", "tensor(float)", ["B", 960])


def test_embedding_does_not_depend_on_the_rest_of_the_batch(session, pixels_BHWC) -> None:
    (together_BD,) = session.run(None, {"pixels": pixels_BHWC})
    alone_BD = np.concatenate([session.run(None, {"pixels": x[None]})[0] for x in pixels_BHWC])
    assert together_BD.shape == (3, 960)
    assert together_BD.dtype == np.float32
    np.testing.assert_allclose(together_BD, alone_BD, rtol=0, atol=BATCH_ATOL)


def test_embeddings_of_images_differ(session, pixels_BHWC) -> None:
    flat_BHWC = np.stack([np.zeros_like(pixels_BHWC[0]), np.full_like(pixels_BHWC[0], 255)])
    (embedding_BD,) = session.run(None, {"pixels": np.concatenate([pixels_BHWC, flat_BHWC])})
    assert np.isfinite(embedding_BD).all()
    assert len(np.unique(embedding_BD.round(2), axis=0)) == 5


def test_backbone_bytes_are_those_pinned_on_the_card(backbone: bytes) -> None:
    assert starter.backbone_onnx() == backbone
    assert hashlib.sha256(backbone).hexdigest() == starter.card()["backbone_sha256"]


def test_head_gives_one_logit_for_each_unique_class(session, pixels_BHWC) -> None:
    classes, weights_DK, bias_K = starter.head()
    assert len(set(classes)) == len({name.casefold() for name in classes}) == 200
    assert all(name == name.strip() and name for name in classes)
    (embedding_BD,) = session.run(None, {"pixels": pixels_BHWC})
    logits_BK = embedding_BD @ weights_DK + bias_K
    assert logits_BK.shape == (3, 200)
    assert logits_BK.dtype == np.float32


def test_provenance_has_the_teacher_and_the_loss_by_half_precision() -> None:
    facts = starter.provenance()
    assert "MobileNetV2" in facts["architecture"]
    assert facts["provenance"]["teacher"]
    halving = facts["figures"]["half_precision"]
    assert halving["photos"] == 300
    assert halving["cosine_min"] > 0.9998
    assert halving["top1_agreement"] >= 0.99


def test_bundle_stays_small() -> None:
    sizes = [len(file.read_bytes()) for file in starter.FILES.iterdir()]
    assert sum(sizes) < BUNDLE_LIMIT_BYTES


def test_weights_are_stored_once() -> None:
    graph = onnx.load_from_string((starter.FILES / "backbone.graph.onnx").read_bytes()).graph
    assert not graph.initializer
    assert {value.name for value in graph.input} == {"pixels", *starter.backbone_weights()}


def test_bound_weights_come_back_unchanged(backbone: bytes) -> None:
    bound = bound_weights(backbone)
    stored = starter.backbone_weights()
    assert bound.keys() == stored.keys()
    assert all(np.array_equal(bound[name], stored[name]) for name in stored)


def test_weights_come_in_the_same_order_in_every_process() -> None:
    names = list(starter.backbone_weights())
    assert names == sorted(names)


def test_binding_refuses_a_missing_weight() -> None:
    graph = (starter.FILES / "backbone.graph.onnx").read_bytes()
    weights = starter.backbone_weights()
    del weights["features.0.0.weight"]
    with pytest.raises(SpecMismatch, match=r"features\.0\.0\.weight"):
        bind_weights(graph, weights)


def test_binding_refuses_a_wrong_shape() -> None:
    graph = (starter.FILES / "backbone.graph.onnx").read_bytes()
    weights = starter.backbone_weights() | {"features.0.0.weight": np.zeros((1, 2, 3))}
    with pytest.raises(SpecMismatch, match=r"features\.0\.0\.weight has shape \(1, 2, 3\)"):
        bind_weights(graph, weights)
