"""The families of text encoders: what their config.json says, and their modules of `transformers`.

Loads transformers only to build a network. No code, file or name of a model is loaded through it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from core.errors import InvalidRequest, NotReady

#: As this release exports them. `gelu_new` is the approximation by tanh.
_ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "tanh")
_BERT_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)
_MPNET_BUCKETS = "relative_attention_num_buckets"
#: A table of this many rows and columns has fewer bytes than torch counts to.
_LARGEST = 2**30 - 1
#: The number that is fixed in MPNet's own code.
NUM_BUCKETS = 32


class Family(NamedTuple):
    #: The module of `transformers.models`, and the beginning of its classes' names.
    module: str
    prefix: str
    #: The classes of the embeddings and of the layers.
    embeddings: str
    layers: str
    #: The keys of config.json.
    sizes: tuple[str, ...]
    width: str = "hidden_size"
    depth: str = "num_hidden_layers"
    heads: str = "num_attention_heads"
    activation: str = "hidden_act"
    others: tuple[str, ...] = (
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "layer_norm_eps",
        "pad_token_id",
    )
    #: The key of the layers in the state dict.
    key: str = "encoder"
    #: Whether there are embeddings of token types. Those of type 0 are added.
    has_types: bool = False
    #: Whether the first position is the one behind the id of padding.
    is_offset: bool = False
    #: Whether attention adds a learned number for the distance of two tokens.
    has_position_bias: bool = False


FAMILIES: dict[str, Family] = {
    "bert": Family(
        "bert",
        "Bert",
        "BertEmbeddings",
        "BertEncoder",
        sizes=(*_BERT_SIZES, "type_vocab_size"),
        has_types=True,
    ),
    "distilbert": Family(
        "distilbert",
        "DistilBert",
        "Embeddings",
        "Transformer",
        sizes=("vocab_size", "dim", "n_layers", "n_heads", "hidden_dim", "max_position_embeddings"),
        width="dim",
        depth="n_layers",
        heads="n_heads",
        activation="activation",
        others=("dropout", "attention_dropout", "pad_token_id"),
        key="transformer",
    ),
    "roberta": Family(
        "roberta",
        "Roberta",
        "RobertaEmbeddings",
        "RobertaEncoder",
        sizes=(*_BERT_SIZES, "type_vocab_size"),
        has_types=True,
        is_offset=True,
    ),
    "mpnet": Family(
        "mpnet",
        "MPNet",
        "MPNetEmbeddings",
        "MPNetEncoder",
        sizes=(*_BERT_SIZES, _MPNET_BUCKETS),
        is_offset=True,
        has_position_bias=True,
    ),
}

SUPPORTED = "bert (MiniLM too), distilbert, roberta and mpnet"


def read_config(fields: Mapping[str, Any], file: str) -> tuple[str, dict[str, Any]]:
    """Return the family, and of config.json what its network is made from.

    Raises InvalidRequest for another type, and for options that this release does not compute.
    """
    name = fields.get("model_type")
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise InvalidRequest(
            f"{file} describes an encoder of the type {name!r}, and supported are {SUPPORTED}: "
            "choose an encoder of these"
        )
    for key, usual in _UNSUPPORTED.items():
        if fields.get(key, usual) != usual:
            raise InvalidRequest(
                f"{file} has {key} = {_short(fields[key])}, and only encoders {_WITHOUT[key]} are "
                f"supported: choose another of {SUPPORTED}"
            )
    defaults = _transformers(f"{family.module}.configuration_{family.module}")
    usual_config = getattr(defaults, f"{family.prefix}Config")()
    keys = (*family.sizes, *family.others, family.activation)
    config = {key: fields.get(key, getattr(usual_config, key)) for key in keys}
    _check(config, family, file)
    return str(name), config


#: What these must be, where config.json has them.
_UNSUPPORTED: dict[str, Any] = {
    "auto_map": None,
    "quantization_config": None,
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
}
_WITHOUT = {
    "auto_map": "without code of their own, which is never run,",
    "quantization_config": "that are not quantised",
    "is_decoder": "that are no decoders",
    "add_cross_attention": "without cross-attention",
    "position_embedding_type": "with absolute positions",
}


def _check(config: Mapping[str, Any], family: Family, file: str) -> None:
    def refuse(key: str, expected: str) -> InvalidRequest:
        return InvalidRequest(
            f"{file} has {key} = {_short(config[key])}, and it must be {expected}: use the file "
            "as the encoder's author published it"
        )

    for key in family.sizes:
        if type(config[key]) is not int or not 1 <= config[key] <= _LARGEST:
            raise refuse(key, f"a whole number from 1 to {_LARGEST:,}")
    for key in family.others:
        if key != "pad_token_id" and not _is_share(config[key]):
            raise refuse(key, "a number from 0 to 1")
    pad = config["pad_token_id"]
    last = min(config["vocab_size"], config["max_position_embeddings"]) - 1
    if type(pad) is not int or not 0 <= pad < last:
        raise refuse("pad_token_id", f"a whole number from 0 to {last - 1}")
    if config[family.width] % config[family.heads]:
        raise refuse(family.width, f"a multiple of {family.heads} = {config[family.heads]}")
    if config[family.activation] not in _ACTIVATIONS:
        raise refuse(family.activation, f"one of {', '.join(_ACTIVATIONS)}")
    if config.get(_MPNET_BUCKETS, NUM_BUCKETS) != NUM_BUCKETS:
        raise refuse(_MPNET_BUCKETS, str(NUM_BUCKETS))


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def num_positions(name: str, config: Mapping[str, Any]) -> int:
    """How many tokens the network has positions for."""
    offset = config["pad_token_id"] + 1 if FAMILIES[name].is_offset else 0
    if name == "mpnet":
        offset = 2  # its code has 1 as the id of padding, whatever config.json says
    return int(config["max_position_embeddings"]) - offset


def modules(name: str, config: Mapping[str, Any]) -> tuple[dict[str, nn.Module], Any]:
    """The embeddings and the layers of `transformers`, by the keys of its state dicts, and the
    configuration that they share.

    Raises NotReady if transformers is not installed.
    """
    family = FAMILIES[name]
    defaults = _transformers(f"{family.module}.configuration_{family.module}")
    classes = _transformers(f"{family.module}.modeling_{family.module}")
    made = getattr(defaults, f"{family.prefix}Config")(**config)
    # `sdpa` takes no memory for the attention of each pair of tokens. MPNet has its own.
    made._attn_implementation = "sdpa"
    parts = {
        "embeddings": getattr(classes, family.embeddings)(made),
        family.key: getattr(classes, family.layers)(made),
    }
    return parts, made


def position_buckets(name: str, num: int) -> list[int] | None:
    """MPNet's bucket for each distance of a token to another: -(num - 1) to num - 1.

    A table instead of its logarithms in the graph, which round differently elsewhere.
    """
    if not FAMILIES[name].has_position_bias:
        return None
    import torch

    distance_R = torch.arange(-(num - 1), num)
    encoder = _transformers("mpnet.modeling_mpnet").MPNetEncoder
    buckets: list[int] = encoder.relative_position_bucket(distance_R, NUM_BUCKETS).tolist()
    return buckets


def _transformers(module: str) -> Any:
    # Read when it is first imported. What is built here needs no network.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # transformers imports torchvision too, and must find it loaded by our module.
    from training.backbones import torchvision_import

    assert torchvision_import
    try:
        return importlib.import_module(f"transformers.models.{module}")
    except ModuleNotFoundError as error:
        raise NotReady(
            "encoders of texts need transformers: install it with pip install "
            "'evergreen-classifier[text-training]'"
        ) from error
