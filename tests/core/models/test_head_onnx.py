from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from scipy.special import softmax

from core.models.head_onnx import IR_VERSION, OPSET, head_onnx

# float32 sums of 576 products, against float64.
LOGIT_ATOL = 1e-4
PROBABILITY_ATOL = 1e-5


def parameters(size: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(size)
    return (
        rng.normal(0, 1, (size, num_classes)).astype(np.float32),
        rng.normal(0, 1, num_classes).astype(np.float32),
    )


@pytest.mark.parametrize(("size", "num_classes"), [(4, 2), (576, 200), (1, 1)])
@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_graph_is_an_affine_map_and_a_tempered_softmax(
    size: int, num_classes: int, temperature: float
) -> None:
    weights_DK, bias_K = parameters(size, num_classes)
    session = onnxruntime.InferenceSession(
        head_onnx(weights_DK, bias_K, temperature), providers=["CPUExecutionProvider"]
    )
    x_BD = np.random.default_rng(1).normal(0, 1, (3, size)).astype(np.float32)
    logits_BK, probabilities_BK = session.run(["logits", "probabilities"], {"embedding": x_BD})
    expected_BK = x_BD.astype(np.float64) @ weights_DK + bias_K
    np.testing.assert_allclose(logits_BK, expected_BK, rtol=0, atol=LOGIT_ATOL)
    np.testing.assert_allclose(
        probabilities_BK, softmax(expected_BK / temperature, axis=1), atol=PROBABILITY_ATOL
    )


def test_graph_of_unit_rms_divides_by_the_root_mean_square() -> None:
    weights_DK, bias_K = parameters(576, 5)
    session = onnxruntime.InferenceSession(
        head_onnx(weights_DK, bias_K, of_unit_rms=True), providers=["CPUExecutionProvider"]
    )
    x_BD = np.random.default_rng(1).normal(0, 3, (3, 576)).astype(np.float32)
    x_BD[2] = 0
    (logits_BK,) = session.run(["logits"], {"embedding": x_BD})
    rms_B1 = np.sqrt(np.square(x_BD.astype(np.float64)).mean(axis=1, keepdims=True))
    expected_BK = x_BD / np.maximum(rms_B1, 1e-30) @ weights_DK + bias_K
    np.testing.assert_allclose(logits_BK, expected_BK, rtol=0, atol=LOGIT_ATOL)


def test_same_parameters_give_the_same_bytes() -> None:
    weights_DK, bias_K = parameters(8, 3)
    transposed = np.asfortranarray(weights_DK)
    assert head_onnx(weights_DK, bias_K) == head_onnx(transposed, bias_K)
    assert head_onnx(weights_DK, bias_K) != head_onnx(weights_DK, bias_K, 2.0)


def test_file_is_little_larger_than_its_weights() -> None:
    weights_DK, bias_K = parameters(576, 3)
    assert len(head_onnx(weights_DK, bias_K)) < weights_DK.nbytes + bias_K.nbytes + 600


def test_file_can_be_read_by_older_onnxruntimes() -> None:
    model = onnx.load_from_string(head_onnx(*parameters(4, 2)))
    assert (model.ir_version, model.opset_import[0].version) == (IR_VERSION, OPSET) == (8, 17)
