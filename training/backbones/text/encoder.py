"""An encoder of texts as a torch module: tokens to embedding in ordered blocks.

It has the interface of `training.backbones.backbone.Backbone`. Its blocks are the embeddings, then
each layer. Pooling has no weights, and follows the last layer.

B batch, T tokens, W width, D embedding, R distances of two tokens; `mask` is 1 for a token of the
text and 0 for one that fills a shorter text up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.inputs.tokens.kind import TokenSpec
from training.backbones import weights as weight_files
from training.backbones.text import families
from training.backbones.text.architecture import CLS, Architecture

#: The modules of `transformers` keep state that is no weight. It is given to them instead.
_CONSTANTS = ("position_ids", "token_type_ids")


class TextEncoder(nn.Module):  # type: ignore[misc]  # torch is typed as Any here
    """The modules of `transformers`, with its state-dict keys, in inference mode.

    The blocks share the network's weights and are not part of the module tree.
    """

    blocks: nn.ModuleList
    #: The embeddings of tokens are never tuned. They are up to half of the weights, and those of
    #: words that no labelled text has would stay behind.
    first_tunable = 1

    def __init__(
        self,
        name: str,
        architecture: Architecture,
        tokenizer: str,
        weights: Mapping[str, Tensor] | None,
        file: str = "",
    ) -> None:
        """`tokenizer` is a tokenizer.json. Weights that are None have any values at first.

        Raises InvalidRequest if the weights do not fit: see `load`.
        """
        super().__init__()
        self.name = name
        self.architecture = architecture
        self.tokenizer = tokenizer
        self.embedding_size = architecture.width
        self._family = families.FAMILIES[architecture.family]
        # Takes no time for random weights, and no memory before the weights are known to fit.
        with torch.device("meta"):
            made, self._config = families.modules(architecture.family, architecture.config)
        for key, module in made.items():
            self.add_module(key, module)
        chosen = {} if weights is None else weight_files.select(self.weights(), weights, (), file)
        self.to_empty(device="cpu")
        for name_in in _CONSTANTS:
            self.embeddings._buffers.pop(name_in, None)
        self._layers = [*getattr(self, self._family.key).layer]  # a list is outside the module tree
        first = [self.embeddings]
        buckets = families.position_buckets(architecture.family, architecture.max_tokens)
        if buckets is not None:
            self.register_buffer("bucket_R", torch.tensor(buckets), persistent=False)
            first.append(self.encoder.relative_attention_bias)
        for key, tensor in chosen.items():
            self.get_parameter(key).data.copy_(tensor)
        self.__dict__["blocks"] = nn.ModuleList([nn.ModuleList(first), *self._layers])
        self.eval()

    @property
    def input_spec(self) -> TokenSpec:
        return TokenSpec(self.architecture.vocab_size, self.architecture.max_tokens)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Embed token ids, shorter texts filled up with -1 at the right. Returns embedding_BD."""
        return self.embed(*_split(tokens_BT))

    def embed(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Embed ids and mask, both int64."""
        return self._pool(self._run(0, self._look_up(ids_BT), mask_BT), mask_BT)

    def forward_to(self, block: int, tokens_BT: Tensor) -> Tensor:
        """Return the input of block number `block`: the tokens for 0, or [B, T, W + 1].

        The last number of each token is its mask, and all are 0 where it is. So texts of one
        length may be put into a batch of another one, filled up with zeros.
        """
        if block == 0:
            return tokens_BT
        ids_BT, mask_BT = _split(tokens_BT)
        hidden_BTW = self._run(0, self._look_up(ids_BT), mask_BT, until=block - 1)
        mask_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTW.dtype)
        return torch.cat([hidden_BTW * mask_BT1, mask_BT1], dim=-1)

    def forward_from(self, block: int, activation: Tensor) -> Tensor:
        """Embed a result of `forward_to(block, ...)`. Returns embedding_BD."""
        if block == 0:
            return self(activation)
        hidden_BTW, mask_BT = activation[..., :-1], activation[..., -1].to(torch.int64)
        return self._pool(self._run(block - 1, hidden_BTW, mask_BT), mask_BT)

    def train(self, mode: bool = True) -> TextEncoder:
        super().train(mode)
        self.blocks.train(mode)
        return self

    def weights(self) -> dict[str, Tensor]:
        """Return the state dict by the library's keys. The tensors are the module's own."""
        return dict(self.state_dict())

    def load(self, weights: Mapping[str, Tensor], ignored: tuple[str, ...], file: str) -> None:
        """Copy weights by the library's keys. Raises InvalidRequest if they do not fit."""
        own = self.weights()
        for key, tensor in weight_files.select(own, weights, ignored, file).items():
            own[key].copy_(tensor)

    def use_attention(self, implementation: str) -> None:
        """`sdpa` to train, or `eager` to export it as the products that it is made of."""
        self._config._attn_implementation = implementation

    def _look_up(self, ids_BT: Tensor) -> Tensor:
        options = {"token_type_ids": torch.zeros_like(ids_BT)} if self._family.has_types else {}
        if not self._family.is_offset:  # the others count positions by the ids
            positions_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
            options["position_ids"] = positions_T.unsqueeze(0)
        return self.embeddings(ids_BT, **options)

    def _run(
        self, layer: int, hidden_BTW: Tensor, mask_BT: Tensor, until: int | None = None
    ) -> Tensor:
        """Run the layers from this number on."""
        options: dict[str, Any] = {"attention_mask": self._attention_mask(mask_BT)}
        if self._family.has_position_bias:
            options["position_bias"] = self._position_bias(hidden_BTW)
        for module in self._layers[layer:until]:
            output = module(hidden_BTW, **options)
            hidden_BTW = output[0] if isinstance(output, tuple) else output
        return hidden_BTW

    def _attention_mask(self, mask_BT: Tensor) -> Tensor:
        is_token_B11T = (mask_BT > 0)[:, None, None, :]
        is_added = self._family.has_position_bias or self._config._attn_implementation == "eager"
        if not is_added:
            return is_token_B11T
        least = torch.finfo(torch.float32).min
        return torch.zeros((), device=mask_BT.device).masked_fill(~is_token_B11T, least)

    def _position_bias(self, hidden_BTW: Tensor) -> Tensor:
        """MPNet's [1, heads, T, T], to add to the scores of attention."""
        at_T = torch.arange(hidden_BTW.shape[1], device=hidden_BTW.device)
        row_TT = at_T[None, :] - at_T[:, None] + (self.architecture.max_tokens - 1)
        bias_TTH = self.encoder.relative_attention_bias(self.bucket_R[row_TT])
        return bias_TTH.permute(2, 0, 1).unsqueeze(0)

    def _pool(self, hidden_BTW: Tensor, mask_BT: Tensor) -> Tensor:
        if self.architecture.pooling == CLS:
            embedding_BD = hidden_BTW[:, 0]
        else:
            mask_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTW.dtype)
            embedding_BD = (hidden_BTW * mask_BT1).sum(1) / mask_BT1.sum(1)
        if self.architecture.is_normalised:
            return F.normalize(embedding_BD, dim=-1)
        return embedding_BD


def _split(tokens_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Ids with 0 as filling, and the mask."""
    return tokens_BT.clamp(min=0), (tokens_BT >= 0).to(torch.int64)
