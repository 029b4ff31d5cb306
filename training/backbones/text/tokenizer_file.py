"""Checks the tokenizer.json of an encoder, and takes out what would change a text's length."""

from __future__ import annotations

import json
from pathlib import Path

from core.errors import InvalidRequest, NotReady

#: What older encoders have instead, and transformers makes tokenizer.json from.
_OLDER = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")


def read_tokenizer(folder: Path, num_rows: int, *, lowers: bool) -> str:
    """Return tokenizer.json without its truncation and padding.

    `num_rows` is the size of the encoder's table of tokens. With `lowers` the encoder's texts are
    in lower case, which the tokenizer has to see to. Raises InvalidRequest if it does not fit.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise _missing(folder)
    try:
        fields = json.loads(file.read_bytes())
        fields["truncation"] = fields["padding"] = None
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except (OSError, ValueError, RecursionError, TypeError) as error:
        raise InvalidRequest(
            f"{file} cannot be read as JSON ({error}): use the file as its author published it"
        ) from error
    _check(text, file, num_rows, lowers)
    return text


def _check(text: str, file: Path, num_rows: int, lowers: bool) -> None:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise NotReady(
            "encoders of texts need tokenizers: install it with pip install "
            "'evergreen-classifier[text-training]'"
        ) from error
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises no class of its own
        raise InvalidRequest(
            f"{file} is no tokenizer that this release of tokenizers reads ({error}): use the file "
            "as its author published it"
        ) from error
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest >= num_rows:
        raise InvalidRequest(
            f"{file} has a token of number {largest}, and the encoder's table has {num_rows} rows, "
            "from 0 on: use the tokenizer that was published with the encoder"
        )
    if not tokenizer.encode("").ids:
        raise InvalidRequest(
            f"{file} puts no special tokens around a text, and the encoder needs them: save it "
            f"again with {_recipe(file.parent)}"
        )
    if lowers and tokenizer.encode("A").ids != tokenizer.encode("a").ids:
        raise InvalidRequest(
            f"sentence_bert_config.json says do_lower_case, and {file} keeps capitals: set its "
            'normalizer to {"type": "Lowercase"}'
        )


def _missing(folder: Path) -> InvalidRequest:
    older = [name for name in _OLDER if (folder / name).is_file()]
    only = f", only {', '.join(older)}" if older else ""
    return InvalidRequest(f"{folder} has no tokenizer.json{only}: make it with {_recipe(folder)}")


def _recipe(folder: Path) -> str:
    return (
        'python -c "from transformers import AutoTokenizer as A; '
        f"A.from_pretrained('{folder}').save_pretrained('{folder}')\""
    )
