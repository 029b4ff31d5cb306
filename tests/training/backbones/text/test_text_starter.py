"""The backbone of a new home of texts as a torch module."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")
pytest.importorskip("transformers", reason="the text-training extra is not installed")

from core.models.backbones import Backbone, Runtime  # noqa: E402
from core.models.pretrained import minilm  # noqa: E402
from training.backbones.networks import export, from_onnx  # noqa: E402

pytestmark = [pytest.mark.training, pytest.mark.slow]  # builds 22 million weights

# Sums of float32 in another order.
ATOL = 1e-5


def test_starter_is_tuned_from_the_weights_that_it_is_published_with() -> None:
    published = minilm.float32_onnx()
    module = from_onnx(minilm.NAME, published)
    assert (module.name, module.first_tunable, len(module.blocks)) == (minilm.NAME, 1, 7)
    assert module.input_spec == minilm.token_spec()
    backbone = Backbone(published, "published", Runtime("cpu"))
    for text in (b"I was charged twice, please refund the second payment", b"hi"):
        tokens_T = backbone.reader(module.input_spec).decode(text).array
        with torch.no_grad():
            embedding_BD = module(torch.from_numpy(tokens_T[None])).numpy()
        np.testing.assert_allclose(embedding_BD, backbone.embed(tokens_T[None]), rtol=0, atol=ATOL)
    # Once it is exported, its file says what it is, as that of any other encoder.
    again = from_onnx(minilm.NAME, export(module))
    given, read = module.weights(), again.weights()
    assert given.keys() == read.keys()
    assert [name for name in given if not torch.equal(given[name], read[name])] == []
