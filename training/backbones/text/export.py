"""Exports an encoder of texts to ONNX: `input_ids` and `attention_mask` to `embedding`.

B batch, T tokens, D embedding.
"""

from __future__ import annotations

from copy import deepcopy

import onnx
import torch
from torch import Tensor, nn

from core.inputs.tokens.kind import TOKENS
from core.inputs.tokens.reader import METADATA_KEY
from core.models.binding import bind_weights
from training.backbones.export import name_as_the_library_does, require_fits, trace
from training.backbones.text.architecture import ENCODER
from training.backbones.text.encoder import TextEncoder

_AXES = {0: "B", 1: "T"}


def export_encoder(module: TextEncoder) -> bytes:
    """Export an encoder with its weights and its tokenizer: [B, T] int64 to [B, D] float32.

    The export is in inference mode, and does not change the module. Its bytes depend on nothing but
    the module. Raises InvalidRequest if the encoder is too large for ONNX.
    """
    weights = module.weights()
    require_fits(module.name, weights)
    arrays = {key: value.cpu().numpy() for key, value in weights.items()}
    model = onnx.load_from_string(bind_weights(_graph(module), arrays, TOKENS.onnx_inputs))
    for key, value in ((ENCODER, module.architecture.to_text()), (METADATA_KEY, module.tokenizer)):
        model.metadata_props.add(key=key, value=value)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _graph(module: TextEncoder) -> bytes:
    hollow = deepcopy(module).cpu().float().eval()
    hollow.use_attention("eager")
    for part in hollow.modules():
        if isinstance(part, nn.Embedding):
            part.padding_idx = None  # it says what is not trained, and the exporter warns of it
    num = min(4, module.architecture.max_tokens)
    # Texts of two lengths: what is constant for one of them would be noticed.
    ids_BT = torch.arange(2 * num).reshape(2, num) % module.architecture.vocab_size
    mask_BT = torch.ones_like(ids_BT)
    mask_BT[1, num - 1] = 0
    examples = dict(zip(TOKENS.onnx_inputs, (ids_BT, mask_BT), strict=True))
    model = trace(_Graph(hollow), examples, dict.fromkeys(TOKENS.onnx_inputs, _AXES))
    # Not all poolings tell the exporter how long their result is.
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = module.embedding_size
    name_as_the_library_does(model)
    graph: bytes = model.SerializeToString(deterministic=True)
    return graph


class _Graph(nn.Module):  # type: ignore[misc]  # torch is typed as Any here
    """The encoder with its two inputs. The name `net` is that of a prefix to remove."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.net = encoder

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        return self.net.embed(ids_BT, mask_BT)
