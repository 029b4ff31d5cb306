"""Encoders of two layers with random weights, as modules and as folders of files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel

from training.backbones.text.architecture import MEAN, Architecture
from training.backbones.text.encoder import TextEncoder

#: By family, what config.json calls its sizes.
BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-6,
    "pad_token_id": 1,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": BERT | {"max_position_embeddings": 40, "type_vocab_size": 2},
    "distilbert": {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 64,
        "activation": "gelu",
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "max_position_embeddings": 40,
        "pad_token_id": 1,
    },
    "roberta": BERT | {"max_position_embeddings": 42, "type_vocab_size": 1},
    "mpnet": BERT | {"max_position_embeddings": 42, "relative_attention_num_buckets": 32},
}
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
WORDS = (
    *("the", "a", "bill", "invoice", "refund", "payment", "price", "charged", "twice", "card"),
    *("crash", "error", "bug", "broken", "screen", "fails", "login", "button", "update", "slow"),
    *("great", "love", "thanks", "nice", "happy", "perfect", "best", "fast", "easy", "works"),
    *("my", "is", "was", "not", "on", "at", "again", "very", "app", "today"),
)
NUM_TOKENS = len(SPECIAL) + len(WORDS)
MAX_TOKENS = 40


def tokenizer_json() -> str:
    """A tokenizer of whole words in lower case, which truncates and pads to 8."""
    vocabulary = {word: at for at, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>", length=8)
    text: str = tokenizer.to_str()
    return text


def tiny_encoder(family: str = "bert", pooling: str = MEAN) -> TextEncoder:
    config = CONFIGS[family] | {"vocab_size": NUM_TOKENS}
    fields = json.loads(tokenizer_json()) | {"truncation": None, "padding": None}
    architecture = Architecture(family, config, pooling, True, MAX_TOKENS)
    module = TextEncoder(f"folder/tiny-{family}", architecture, json.dumps(fields), None)
    randomise(module)
    return module


def randomise(module: torch.nn.Module, spread: float = 0.3) -> None:
    """Weights under which texts of different words, orders and lengths are far apart.

    The less the layers' weights spread, the more of a text's words is left in its embedding.
    """
    generator = torch.Generator().manual_seed(7)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator)
            is_scale = name.endswith("LayerNorm.weight") or name.endswith("layer_norm.weight")
            scale = 0.3 if "_embeddings." in name else spread
            tensor.copy_(1 + 0.1 * noise if is_scale else scale * noise)


def write_folder(folder: Path, family: str, *, head: bool = False, spread: float = 0.3) -> Any:
    """Write an encoder as transformers does, with `head` as part of a model for masked words.

    Returns the model of transformers, in inference mode.
    """
    # transformers imports torchvision too, and must find it loaded by our module.
    from training.backbones import torchvision_import

    assert torchvision_import
    import transformers

    prefix = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta", "mpnet": "MPNet"}
    config = getattr(transformers, f"{prefix[family]}Config")(
        **CONFIGS[family], vocab_size=NUM_TOKENS
    )
    kind = "ForMaskedLM" if head else "Model"
    model = getattr(transformers, f"{prefix[family]}{kind}")(config).eval()
    randomise(model, spread)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer_json())
    return model.base_model


def as_sentence_transformers(
    folder: Path, *, pooling: str = "mean_tokens", normalises: bool = True, longest: int = 64
) -> None:
    """Add the files that sentence-transformers has beside those of transformers."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalises else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(zip(kinds, paths, strict=False))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    sentence = {"max_seq_length": longest, "do_lower_case": True}
    (folder / "sentence_bert_config.json").write_text(json.dumps(sentence))
