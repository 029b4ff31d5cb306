"""Cutting the starter's network from a full MobileNetV2, so that a distillation need only mend it.

Axes: B batch, C channels, H/W pixels, P positions (of all images), D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn

from training.backbones.starter_network import EMBEDDING_SIZE

# So many positions settle a projection of at most 480 channels.
_POSITIONS = 24_000
_RIDGE = 1e-3


def cut(full: Sequence[nn.Module], slim: Sequence[nn.Module], x_BCHW: Tensor) -> list[int]:
    """Give a slim network's `features` the weights of a full MobileNetV2's, as a sample asks.

    Block by block, the hidden channels that matter most are kept and the projection is solved anew
    (He et al. 2017), on slim's own input, so that each block also mends what those before it lost.
    Returns which of the full embedding's channels the slim one gives, in order.
    """
    with torch.no_grad():
        was_BCHW = is_BCHW = x_BCHW
        for whole, part in zip(full[:-1], slim[:-1], strict=True):
            if [p.shape for p in whole.parameters()] == [p.shape for p in part.parameters()]:
                part.load_state_dict(whole.state_dict())
            else:
                _cut_block(whole, part, was_BCHW, is_BCHW)
            was_BCHW, is_BCHW = whole(was_BCHW), part(is_BCHW)
        kept = _most_independent(full[-1](was_BCHW).mean((2, 3)), EMBEDDING_SIZE)
        _keep_outputs(full[-1], slim[-1], kept)
        return list(kept.tolist())


def _cut_block(whole: nn.Module, part: nn.Module, was_BCHW: Tensor, is_BCHW: Tensor) -> None:
    expand, filtered, project, norm = whole.conv
    hidden_PC = _positions(filtered(expand(was_BCHW)))
    weight_OC = project.weight[:, :, 0, 0]
    matters_C = hidden_PC.var(0) * (
        weight_OC * (norm.weight / norm.running_var.sqrt())[:, None]
    ).square().sum(0)
    kept = matters_C.topk(part.conv[2].in_channels).indices.sort().values
    _keep_outputs(expand, part.conv[0], kept)
    _keep_outputs(filtered, part.conv[1], kept)
    wanted_PO = _positions(whole(was_BCHW))
    if part.use_res_connect:
        wanted_PO = wanted_PO - _positions(is_BCHW)
    _solve(part, _positions(part.conv[1](part.conv[0](is_BCHW))), wanted_PO)


def _solve(part: nn.Module, hidden_PC: Tensor, wanted_PO: Tensor) -> None:
    """Set projection and BatchNorm to give the wanted output, in the least-squares sense."""
    mean_C, mean_O = hidden_PC.mean(0), wanted_PO.mean(0)
    centred_PC = (hidden_PC - mean_C).double()
    gram_CC = centred_PC.T @ centred_PC
    gram_CC.diagonal().add_(_RIDGE * gram_CC.diagonal().mean())
    solved_CO = torch.linalg.solve(gram_CC, centred_PC.T @ (wanted_PO - mean_O).double()).float()
    _, _, project, norm = part.conv
    project.weight.copy_(solved_CO.T[:, :, None, None])
    given_PO = hidden_PC @ solved_CO
    norm.running_mean.copy_(given_PO.mean(0))
    norm.running_var.copy_(given_PO.var(0))
    norm.weight.copy_((norm.running_var + norm.eps).sqrt())
    norm.bias.copy_(mean_O)


def _keep_outputs(whole: nn.Module, part: nn.Module, kept: Tensor) -> None:
    """Copy some outputs of a convolution and its BatchNorm; of a 1x1 after a cut, all inputs."""
    for wide, narrow in ((whole[0], part[0]), (whole[1], part[1])):
        state = wide.state_dict()
        narrow.load_state_dict({k: v[kept] if v.ndim else v for k, v in state.items()})


def _positions(x_BCHW: Tensor) -> Tensor:
    """Take the same, evenly spread positions of every activation of one size: x_PC."""
    x_PC = x_BCHW.permute(0, 2, 3, 1).flatten(0, 2)
    return x_PC[:: max(1, len(x_PC) // _POSITIONS)]


def _most_independent(x_BD: Tensor, count: int) -> Tensor:
    """Choose the columns from which the others are told best (QR with pivoting), in order."""
    centred_BD = (x_BD - x_BD.mean(0)).double().numpy()
    (_, pivots_D) = scipy.linalg.qr(centred_BD, mode="r", pivoting=True)
    return torch.from_numpy(np.sort(pivots_D[:count]).astype(np.int64))
