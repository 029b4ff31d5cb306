"""The tail: the part of a model that is fine-tuned, its last blocks and its head.

It owns which weights are trained, their rates, and the weights as a plain mapping. It does not
change blocks before its first, and no running statistics of BatchNorm.

B batch, D embedding, K classes that have training rows; `_...` are the axes of an activation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.blocks.schedule import block_lrs
from training.head.head import Head
from training.recipe import TuningRecipe

Weights = dict[str, Tensor]


class Tail(nn.Module):  # type: ignore[misc]  # torch is typed as Any here
    def __init__(self, backbone: Any, head: Head, classes_K: NDArray[np.intp], depth: int) -> None:
        """`classes_K` are those with training rows. The columns of the others do not change.

        A class without rows has a logit of -10,000, which would dominate the loss under label
        smoothing.
        """
        super().__init__()
        self.backbone = backbone
        self.first = max(backbone.first_tunable, len(backbone.blocks) - depth)
        self._start = head
        self._classes_K = classes_K
        self.head = nn.Linear(backbone.embedding_size, len(classes_K))
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(head.weights_DK[:, classes_K].T))
            self.head.bias.copy_(torch.from_numpy(head.bias_K[classes_K]))
        backbone.requires_grad_(True)
        for block in backbone.blocks[: self.first]:
            block.requires_grad_(False)
        self._blocks = [[*block.parameters()] for block in backbone.blocks[self.first :]]

    def forward(self, activation: Tensor) -> Tensor:
        """Return logits_BK from the activations at the freeze boundary."""
        embedding_BD = self.backbone.forward_from(self.first, activation)
        # As `training.head.head.to_unit_rms` scales them.
        return self.head(nn.functional.rms_norm(embedding_BD, embedding_BD.shape[-1:], eps=1e-24))

    def frozen(self, inputs: Tensor) -> Tensor:
        """Return the activations of a batch, pixels or tokens, at the freeze boundary."""
        with torch.no_grad():  # not inference mode, whose tensors cannot take part in backward
            return self.backbone.forward_to(self.first, inputs)

    def train(self, mode: bool = True) -> Tail:
        """The frozen blocks, and BatchNorm everywhere, stay in inference mode.

        Small batches of similar inputs would move the running statistics away from those that the
        weights were trained with, and the exported model would differ from the trained one.
        """
        super().train(mode)
        for block in self.backbone.blocks[: self.first]:
            block.eval()
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def unfreeze(self, num_blocks: int) -> None:
        """Train the last `num_blocks` of the tail's blocks, and the head."""
        for i, parameters in enumerate(reversed(self._blocks)):
            for parameter in parameters:
                parameter.requires_grad_(i < num_blocks)

    def groups(self, recipe: TuningRecipe) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups: the blocks, then what follows them (a final
        normalisation), then the head. `full_lr` is the rate before the schedule.

        Weight decay leaves out biases and normalisations, for which a prior at 0 makes no sense.
        """
        lrs = block_lrs(recipe.lr, recipe.lr_decay, len(self._blocks))
        inside = {id(p) for block in self.backbone.blocks for p in block.parameters()}
        after = [p for p in self.backbone.parameters() if id(p) not in inside]
        with_lr = [*zip(self._blocks, lrs, strict=True), (after, recipe.lr)]
        with_lr.append(([*self.head.parameters()], recipe.head_lr))
        groups = []
        for parameters, lr in with_lr:
            for is_matrix in (True, False):
                chosen = [p for p in parameters if (p.ndim > 1) == is_matrix]
                decay = recipe.weight_decay if is_matrix else 0.0
                groups.append({"params": chosen, "lr": lr, "full_lr": lr, "weight_decay": decay})
        return [group for group in groups if group["params"]]

    def weights(self) -> Weights:
        """Return copies of all weights that may be trained, by name."""
        return {name: p.detach().clone() for name, p in self.trainable()}

    def trainable(self) -> list[tuple[str, Tensor]]:
        frozen = {id(p) for block in self.backbone.blocks[: self.first] for p in block.parameters()}
        return [(name, p) for name, p in self.named_parameters() if id(p) not in frozen]

    def load(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.trainable():
                parameter.copy_(weights[name])

    def trained_head(self) -> Head:
        """Return the head over all classes, without its temperature."""
        weights_DK, bias_K = self._start.weights_DK.copy(), self._start.bias_K.copy()
        weights_DK[:, self._classes_K] = self.head.weight.detach().cpu().numpy().T
        bias_K[self._classes_K] = self.head.bias.detach().cpu().numpy()
        return Head(self._start.classes, weights_DK, bias_K)


class Average:
    """An exponential moving average of the tail's weights, over about `horizon` steps."""

    def __init__(self, tail: Tail, horizon: float) -> None:
        self.weights = tail.weights()
        self._tail = tail
        self._share = min(1.0, 1 / horizon) if horizon > 0 else 1.0
        self.is_on = horizon > 1

    def update(self) -> None:
        if self.is_on:
            with torch.no_grad():
                for name, parameter in self._tail.trainable():
                    self.weights[name].lerp_(parameter, self._share)
