"""Exports a torch backbone to ONNX: the graph without weights, then the weights bound by name.

Every backbone is exported this way, so `core.models.binding.bound_weights` can read the weights of
any version from its file. Does not check parity; the gate does.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from copy import deepcopy

import onnx
import torch
from torch import Tensor, nn

from core.errors import InvalidRequest
from core.models.binding import EMBEDDING, PIXELS, bind_weights
from training.backbones.backbone import NET, Backbone
from training.backbones.images.same_padding import move_into_convolutions, same_pads

OPSET = 17

#: An ONNX file is one protobuf message of at most 2 GB, graph included.
MAX_WEIGHTS_BYTES = 2_000_000_000


def export_backbone(module: Backbone, size_px: int | None = None) -> bytes:
    """Export a backbone with its weights: `pixels` [B, size_px, size_px, 3] to `embedding` [B, D].

    The export is in inference mode, and does not change the module. `size_px` is by default the
    backbone's own. Raises InvalidRequest if the backbone is too large for ONNX.
    """
    weights = module.weights()
    require_fits(module.name, weights)
    graph = export_graph(module, module.pixels.size_px if size_px is None else size_px)
    names = {value.name for value in onnx.load_from_string(graph).graph.input} - {PIXELS}
    return bind_weights(graph, {name: weights[name].cpu().numpy() for name in names})


def export_graph(module: Backbone, size_px: int) -> bytes:
    """Export a backbone's graph without weights. These are inputs named by their state-dict keys.

    One architecture gives the same bytes with any weights.
    """
    hollow = deepcopy(module).cpu().float().eval()
    example = torch.zeros(2, size_px, size_px, 3, dtype=torch.uint8)
    model = trace(hollow, {PIXELS: example}, {PIXELS: {0: "B"}})
    move_into_convolutions(model.graph, same_pads(hollow, example))
    name_as_the_library_does(model)
    graph: bytes = model.SerializeToString(deterministic=True)
    return graph


def require_fits(name: str, weights: Mapping[str, Tensor]) -> None:
    """Raises InvalidRequest if the weights are too large for one ONNX file."""
    num_bytes = sum(4 * tensor.numel() for tensor in weights.values())
    if num_bytes > MAX_WEIGHTS_BYTES:
        raise InvalidRequest(
            f"{name} has {num_bytes / 1e9:.1f} GB of weights, and one ONNX file holds "
            f"{MAX_WEIGHTS_BYTES / 1e9:.1f} GB: choose a smaller backbone of its family"
        )


def trace(
    hollow: nn.Module, examples: Mapping[str, Tensor], axes: Mapping[str, Mapping[int, str]]
) -> onnx.ModelProto:
    """Export a module whose weights nobody needs any more. They become inputs of the graph.

    `examples` are its arguments by the names of the inputs; `axes` are those whose length varies.
    """
    # The exporter merges weights of equal value, such as new BatchNorms, so make all differ.
    for index, tensor in enumerate(hollow.state_dict().values()):
        if tensor.is_floating_point():
            tensor.fill_(index + 1)
    _fix_integers(hollow)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        for message in ("You are using the legacy TorchScript", "The feature will be removed"):
            warnings.filterwarnings("ignore", message, DeprecationWarning)
        # It warns of sizes that become constants, as intended: only the axes vary.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.onnx.export(
            hollow,
            tuple(examples.values()),
            buffer,
            input_names=[*examples],
            output_names=[EMBEDDING],
            dynamic_axes={**axes, EMBEDDING: {0: "B"}},
            opset_version=OPSET,
            dynamo=False,  # the newer exporter takes ten times as long (14 s against 1.3 s)
            export_params=False,
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # keeps BatchNorm unfolded
        )
    model = onnx.load_from_string(buffer.getvalue())
    model.producer_name, model.producer_version = "evergreen", ""
    return model


def _fix_integers(module: nn.Module) -> None:
    """Make integer buffers, such as indices, constants of the graph."""
    for part in module.modules():
        for name, buffer in part.named_buffers(recurse=False):
            if not buffer.is_floating_point():
                part._non_persistent_buffers_set.add(name)


def name_as_the_library_does(model: onnx.ModelProto) -> None:
    """Remove the prefix that stands before the library's state-dict keys."""
    for value in model.graph.input:
        value.name = value.name.removeprefix(NET)
    for node in model.graph.node:
        node.input[:] = [name.removeprefix(NET) for name in node.input]
