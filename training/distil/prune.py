"""Prunes a full MobileNetV2 to the starter's network, from which a distillation starts.

Axes: B batch, C channels, H/W pixels, P positions (of all images), D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn

from training.backbones.starter_network import EMBEDDING_SIZE

# This many positions determine a projection of at most 480 channels.
_POSITIONS = 24_000
_RIDGE = 1e-3


def prune(full: Sequence[nn.Module], slim: Sequence[nn.Module], x_BCHW: Tensor) -> list[int]:
    """Fill a slim network's `features` with weights of a full MobileNetV2's, from a sample.

    Block by block, the most important hidden channels are kept, and the projection is solved again
    (He et al. 2017). It is solved on the slim network's own input, so each block also corrects the
    errors of those before it. Returns the numbers of the full embedding's channels that are kept.
    """
    with torch.no_grad():
        full_BCHW = slim_BCHW = x_BCHW
        for wide, narrow in zip(full[:-1], slim[:-1], strict=True):
            if [p.shape for p in wide.parameters()] == [p.shape for p in narrow.parameters()]:
                narrow.load_state_dict(wide.state_dict())
            else:
                _prune_block(wide, narrow, full_BCHW, slim_BCHW)
            full_BCHW, slim_BCHW = wide(full_BCHW), narrow(slim_BCHW)
        kept = _most_independent(full[-1](full_BCHW).mean((2, 3)), EMBEDDING_SIZE)
        _keep_outputs(full[-1], slim[-1], kept)
        return list(kept.tolist())


def _prune_block(wide: nn.Module, narrow: nn.Module, full_BCHW: Tensor, slim_BCHW: Tensor) -> None:
    expand, filtered, project, norm = wide.conv
    hidden_PC = _positions(filtered(expand(full_BCHW)))
    weight_OC = project.weight[:, :, 0, 0]
    importance_C = hidden_PC.var(0) * (
        weight_OC * (norm.weight / norm.running_var.sqrt())[:, None]
    ).square().sum(0)
    kept = importance_C.topk(narrow.conv[2].in_channels).indices.sort().values
    _keep_outputs(expand, narrow.conv[0], kept)
    _keep_outputs(filtered, narrow.conv[1], kept)
    target_PO = _positions(wide(full_BCHW))
    if narrow.use_res_connect:
        target_PO = target_PO - _positions(slim_BCHW)
    _solve(narrow, _positions(narrow.conv[1](narrow.conv[0](slim_BCHW))), target_PO)


def _solve(block: nn.Module, hidden_PC: Tensor, target_PO: Tensor) -> None:
    """Fit the projection and the BatchNorm of a block to an output, by ridge regression."""
    mean_C, mean_O = hidden_PC.mean(0), target_PO.mean(0)
    centred_PC = (hidden_PC - mean_C).double()
    gram_CC = centred_PC.T @ centred_PC
    gram_CC.diagonal().add_(_RIDGE * gram_CC.diagonal().mean())
    solved_CO = torch.linalg.solve(gram_CC, centred_PC.T @ (target_PO - mean_O).double()).float()
    _, _, project, norm = block.conv
    project.weight.copy_(solved_CO.T[:, :, None, None])
    output_PO = hidden_PC @ solved_CO
    norm.running_mean.copy_(output_PO.mean(0))
    norm.running_var.copy_(output_PO.var(0))
    norm.weight.copy_((norm.running_var + norm.eps).sqrt())
    norm.bias.copy_(mean_O)


def _keep_outputs(wide: nn.Module, narrow: nn.Module, kept: Tensor) -> None:
    """Copy some outputs of a convolution and its BatchNorm, with all inputs."""
    for layer in (0, 1):
        state = wide[layer].state_dict()
        narrow[layer].load_state_dict({k: v[kept] if v.ndim else v for k, v in state.items()})


def _positions(x_BCHW: Tensor) -> Tensor:
    """Return x_PC at evenly spread positions, which are the same for activations of one size."""
    x_PC = x_BCHW.permute(0, 2, 3, 1).flatten(0, 2)
    return x_PC[:: max(1, len(x_PC) // _POSITIONS)]


def _most_independent(x_BD: Tensor, count: int) -> Tensor:
    """Choose the columns that predict the others best (QR with pivoting), in order."""
    centred_BD = (x_BD - x_BD.mean(0)).double().numpy()
    (_, pivots_D) = scipy.linalg.qr(centred_BD, mode="r", pivoting=True)
    return torch.from_numpy(np.sort(pivots_D[:count]).astype(np.int64))
