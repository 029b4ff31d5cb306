"""Reads a folder in the Hugging Face layout: what an encoder is, and where its weights are.

config.json, tokenizer.json and model.safetensors, or its parts; of sentence-transformers also
modules.json, with the pooling and the longest text. Runs no code of the folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from core.errors import InvalidRequest
from training.backbones.text.architecture import CLS, MAX_TOKENS, MEAN, Architecture
from training.backbones.text.families import num_positions, read_config
from training.backbones.text.tokenizer_file import read_tokenizer

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
#: A token between the two that begin and end a text.
_LEAST_TOKENS = 3
#: Files that other releases and libraries have instead.
_OTHER_WEIGHTS = ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "model.onnx")
#: Poolings by their names in older files, and in newer ones. All others are refused.
_POOLINGS = {
    "pooling_mode_mean_tokens": MEAN,
    "pooling_mode_cls_token": CLS,
    "mean": MEAN,
    "cls": CLS,
}


@dataclass(frozen=True, slots=True)
class EncoderFiles:
    architecture: Architecture
    tokenizer: str
    # One file, or the parts of one.
    weights: tuple[Path, ...]


def read_folder(folder: Path) -> EncoderFiles:
    """Raises InvalidRequest if it is no encoder that this release supports."""
    if not folder.is_dir():
        raise InvalidRequest(
            f"there is no folder {folder}: give the path of one with config.json, tokenizer.json "
            f"and {_WEIGHTS}"
        )
    modules = _modules(folder)
    inner = folder / modules.encoder
    family, config = read_config(_json(inner / "config.json"), str(inner / "config.json"))
    sentence = _json_if_any(inner / "sentence_bert_config.json")
    longest = sentence.get("max_seq_length")
    most = num_positions(family, config)
    if type(longest) is int and longest > 0:
        most = min(most, longest)
    if most < _LEAST_TOKENS:
        raise InvalidRequest(
            f"{inner / 'config.json'} leaves {most} tokens for a text, special ones included: "
            "use the file as the encoder's author published it"
        )
    lowers = sentence.get("do_lower_case") is True
    return EncoderFiles(
        Architecture(family, config, modules.pooling, modules.normalises, min(MAX_TOKENS, most)),
        read_tokenizer(inner, config["vocab_size"], lowers=lowers),
        _weights(inner),
    )


@dataclass(frozen=True, slots=True)
class _Modules:
    # The folder of config.json, within the folder.
    encoder: str = ""
    pooling: str = MEAN
    normalises: bool = False


def _modules(folder: Path) -> _Modules:
    """As sentence-transformers does, without modules.json: the mean, as long as it is."""
    file = folder / "modules.json"
    if not file.is_file():
        return _Modules()
    listed = _json_list(file)
    kinds = [str(entry.get("type")).rpartition(".")[2] for entry in listed]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise InvalidRequest(
            f"{file} lists the modules {', '.join(kinds) or 'none'}, and supported are "
            "Transformer, Pooling and, after them, Normalize: choose an encoder of these"
        )
    encoder, pooling = (_inside(entry.get("path"), file) for entry in listed[:2])
    return _Modules(encoder, _pooling(folder / pooling / "config.json"), len(kinds) == 3)


def _pooling(file: Path) -> str:
    fields = _json(file)
    # Newer files have one name, or a list of them.
    named = fields.get("pooling_mode")
    listed = named if isinstance(named, list) else [named] if named is not None else []
    chosen = [str(name) for name in listed] or [
        key for key, value in fields.items() if key.startswith("pooling_mode_") and value is True
    ]
    if len(chosen) != 1 or chosen[0] not in _POOLINGS:
        raise InvalidRequest(
            f"{file} pools by {' and '.join(chosen) or 'nothing'}, and supported are the mean of "
            "all tokens (pooling_mode_mean_tokens) or the first token (pooling_mode_cls_token), "
            "one of them: choose another encoder"
        )
    return _POOLINGS[chosen[0]]


def _weights(folder: Path) -> tuple[Path, ...]:
    if (folder / _WEIGHTS).is_file():
        return (folder / _WEIGHTS,)
    index = folder / _INDEX
    if index.is_file():
        names = _json(index).get("weight_map")
        if not isinstance(names, dict) or not names:
            raise _damaged(index, "weight_map names no files")
        parts = sorted({_inside(name, index) for name in names.values()})
        for part in parts:
            if not part.endswith(".safetensors") or not (folder / part).is_file():
                raise _damaged(index, f"it names {part!r}, which is no safetensors file here")
        return tuple(folder / part for part in parts)
    others = [name for name in _OTHER_WEIGHTS if (folder / name).is_file()]
    has = f"only {', '.join(others)}" if others else "no weights"
    raise InvalidRequest(
        f"{folder} has {has}, and weights are read from {_WEIGHTS} alone, because a pickle may run "
        'code: where you trust the encoder, python -c "from transformers import AutoModel as A; '
        f"A.from_pretrained('{folder}').save_pretrained('{folder}')\" writes it"
    )


def _inside(path: Any, file: Path) -> str:
    """A path that a file of the folder names. Hugging Face's own folders link elsewhere."""
    if not isinstance(path, str) or PurePosixPath(path).is_absolute() or ".." in Path(path).parts:
        raise _damaged(file, f"it names the path {path!r}")
    return path


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise InvalidRequest(
            f"{file.parent} has no {file.name}: give a folder with config.json, tokenizer.json and "
            f"{_WEIGHTS}, as Hugging Face has them"
        )
    fields = _parse(file)
    if not isinstance(fields, dict):
        raise _damaged(file, "it is no JSON object")
    return fields


def _json_if_any(file: Path) -> dict[str, Any]:
    return _json(file) if file.is_file() else {}


def _json_list(file: Path) -> list[dict[str, Any]]:
    entries = _parse(file)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _damaged(file, "it is no list of JSON objects")
    return entries


def _parse(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, str(error)) from error


def _damaged(file: Path, reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"{file} cannot be read: {reason}; use the file as the encoder's author published it"
    )
