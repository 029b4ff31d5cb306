import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from core.models.binding import bound_weights  # noqa: E402
from core.models.pretrained import starter  # noqa: E402
from training.backbones.backbone import StarterBackbone, load_weights, starter_backbone  # noqa: E402
from training.backbones.export import export_backbone, export_graph  # noqa: E402
from training.distil import bundle_starter  # noqa: E402

pytestmark = pytest.mark.training

# float32 sums in another order, BatchNorm folded by onnxruntime: 5e-6 seen, embeddings reach 5.
PARITY_ATOL = 2e-5
SIZE_PX = 144


def embed(model: bytes, pixels_BHWC: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"pixels": pixels_BHWC})[0]


def embed_in_torch(module: torch.nn.Module, pixels_BHWC: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return module(torch.from_numpy(pixels_BHWC)).numpy()


def random_weights() -> dict[str, np.ndarray]:
    """Weights of another training: every tensor moved, variances kept above zero."""
    generator = np.random.default_rng(3)
    return {
        name: value * generator.uniform(0.8, 1.2, value.shape).astype(np.float32)
        for name, value in starter.backbone_weights().items()
    }


@pytest.fixture(scope="module")
def pixels_BHWC() -> np.ndarray:
    """Noise, black, white, one ramp along each axis and channel, and a checkerboard."""
    noise = np.random.default_rng(5).integers(0, 256, (3, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    row, column = np.mgrid[:SIZE_PX, :SIZE_PX]
    ramp = np.stack([row * 2, column * 2, 255 - row], axis=-1)
    board = np.repeat(((row // 8 + column // 8) % 2 * 255)[..., None], 3, axis=-1)
    flat = [np.full_like(ramp, value) for value in (0, 255)]
    return np.concatenate([noise, np.stack([*flat, ramp, board]).astype(np.uint8)])


def test_bound_starter_equals_the_torch_module(pixels_BHWC) -> None:
    expected_BD = embed_in_torch(starter_backbone(), pixels_BHWC)
    got_BD = embed(starter.backbone_onnx(), pixels_BHWC)
    np.testing.assert_allclose(got_BD, expected_BD, rtol=0, atol=PARITY_ATOL)


def test_exported_starter_has_the_bytes_of_the_bundle() -> None:
    assert export_backbone(starter_backbone(), SIZE_PX) == starter.backbone_onnx()


def test_exported_backbone_equals_a_module_with_other_weights(pixels_BHWC) -> None:
    module = starter_backbone()
    before_BD = embed_in_torch(module, pixels_BHWC)
    load_weights(module, random_weights())
    expected_BD = embed_in_torch(module, pixels_BHWC)
    assert np.abs(expected_BD - before_BD).max() > 0.1
    got_BD = embed(export_backbone(module, SIZE_PX), pixels_BHWC)
    np.testing.assert_allclose(got_BD, expected_BD, rtol=0, atol=PARITY_ATOL)


def test_weights_survive_onnx_and_back(pixels_BHWC) -> None:
    module = starter_backbone()
    load_weights(module, random_weights())
    again = starter_backbone(bound_weights(export_backbone(module, SIZE_PX)))
    expected_BD = embed_in_torch(module, pixels_BHWC)
    np.testing.assert_array_equal(embed_in_torch(again, pixels_BHWC), expected_BD)


def test_bundled_graph_is_a_new_export_with_any_weights() -> None:
    bundled = onnx.load_from_string((starter.FILES / "backbone.graph.onnx").read_bytes())
    for module in (starter_backbone(), StarterBackbone(**starter.card()["normalisation"])):
        assert onnx.load_from_string(export_graph(module, SIZE_PX)) == bundled


def test_batchnorm_is_in_inference_mode_in_training_and_in_the_graph() -> None:
    module = starter_backbone().train()
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert module.training
    assert norms
    assert not any(norm.training for norm in norms)
    graph = onnx.load_from_string(export_graph(module, SIZE_PX)).graph
    nodes = [node for node in graph.node if node.op_type == "BatchNormalization"]
    assert len(nodes) == len(norms)
    modes = [a.i for node in nodes for a in node.attribute if a.name == "training_mode"]
    assert not any(modes)
    assert all(len(node.output) == 1 for node in nodes)


def test_export_does_not_change_the_module() -> None:
    module = starter_backbone().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    export_backbone(module, SIZE_PX)
    assert module.training
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())


def test_gradients_reach_every_weight() -> None:
    module = starter_backbone().train()
    module(torch.zeros(1, SIZE_PX, SIZE_PX, 3, dtype=torch.uint8)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_bundle_made_from_the_bundle_has_the_same_bytes(tmp_path) -> None:
    source = [str(starter.FILES / name) for name in ("starter.safetensors", "starter.json")]
    bundle_starter.main([*source, "--into", str(tmp_path)])
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {file.name: file.read_bytes() for file in starter.FILES.iterdir()}
