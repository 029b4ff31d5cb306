"""From a torch backbone to ONNX: the graph once without weights, then the weights bound by name.

Every backbone is exported this way, the bundled one too, so that `core.starter.bound_weights` can
read any version's weights back out of its file. Does not check parity: the gate does.
"""

from __future__ import annotations

import io
import warnings
from copy import deepcopy

import onnx
import torch
from torch import nn

from core.starter import EMBEDDING, PIXELS, bind_weights

OPSET = 17


def export_backbone(module: nn.Module, size_px: int) -> bytes:
    """Export a backbone with its weights: `pixels` [B, size_px, size_px, 3] to `embedding` [B, D].

    Exported as in inference mode, whichever mode the module is in; the module is left as it was.
    """
    graph = export_graph(module, size_px)
    names = {value.name for value in onnx.load_from_string(graph).graph.input} - {PIXELS}
    state = module.state_dict()
    return bind_weights(graph, {name: state[name].cpu().numpy() for name in names})


def export_graph(module: nn.Module, size_px: int) -> bytes:
    """Export a backbone's graph alone; its weights are inputs named by their state-dict keys.

    The same architecture gives the same bytes, whatever the weights.
    """
    hollow = deepcopy(module).cpu().eval()
    # The exporter merges weights of equal value (fresh BatchNorms, say), so make all differ.
    for index, tensor in enumerate(hollow.state_dict().values()):
        tensor.fill_(index + 1)
    example = torch.zeros(2, size_px, size_px, 3, dtype=torch.uint8)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        for message in ("You are using the legacy TorchScript", "The feature will be removed"):
            warnings.filterwarnings("ignore", message, DeprecationWarning)
        torch.onnx.export(
            hollow,
            (example,),
            buffer,
            input_names=[PIXELS],
            output_names=[EMBEDDING],
            dynamic_axes={PIXELS: {0: "B"}, EMBEDDING: {0: "B"}},
            opset_version=OPSET,
            dynamo=False,  # the newer exporter takes ten times as long (14 s against 1.3 s)
            export_params=False,
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # keeps BatchNorm unfolded
        )
    model = onnx.load_from_string(buffer.getvalue())
    model.producer_name, model.producer_version = "evergreen", ""
    graph: bytes = model.SerializeToString(deterministic=True)
    return graph
