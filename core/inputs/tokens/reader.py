"""A text -> the tokens of one backbone, by the tokenizer that its ONNX file carries.

T tokens of a text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import SpecMismatch, UndecodableText
from core.inputs.kind import DEFAULT_LIMITS, Decoded, Limits
from core.inputs.tokens import text as texts

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

# The whole tokenizer.json, as the metadata of a backbone's ONNX file has it.
METADATA_KEY = "tokenizer"

# Of a long text only the beginning is tokenised, if that already has more tokens than are kept.
# English has 4 characters to a token. 20,000 characters took 5.5 ms, and their first 2,048 0.55 ms
# (tokenizers 0.23, one core of an AMD EPYC).
_CHARACTERS_PER_TOKEN = 8
# Where the beginning has no space to be cut at, its last tokens may be others than those of the
# whole text. So many are not trusted.
_NUM_AT_CUT = 64
# From this share of unknown tokens on, the answer has a note.
_MAX_UNKNOWN = 1 / 3


class TextReader:
    """The tokenizer is never changed after it is built, so threads may share it."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, unknown: int | None) -> None:
        """`unknown` is the id of the token for what the vocabulary lacks, if there is one."""
        self._tokenizer = tokenizer
        self._max_own = max_tokens - tokenizer.num_special_tokens_to_add(False)
        self._max_characters = _CHARACTERS_PER_TOKEN * max_tokens
        self._unknown = unknown

    def decode(self, content: bytes, limits: Limits = DEFAULT_LIMITS) -> Decoded:
        """Returns int64 ids_T. Raises UndecodableText, also for a text without any token of its
        own, such as lone accents, and TextTooLong."""
        encoding = self._tokenize(texts.read(content, limits))
        num_own = len(encoding)
        if num_own == 0:
            raise UndecodableText(
                "the text has nothing that the tokenizer of this model reads, 0 tokens; send at "
                "least one word"
            )
        is_truncated = num_own > self._max_own
        if is_truncated:
            encoding.truncate(self._max_own)
        note = self._note(encoding.ids)
        ids_T = np.array(self._tokenizer.post_process(encoding).ids, np.int64)
        return Decoded(ids_T, is_truncated, note)

    def _tokenize(self, text: str) -> Encoding:
        """All tokens, or at least more than are kept, without those that begin and end a text."""
        if len(text) > self._max_characters:
            encoding = self._encode(_beginning(text, self._max_characters))
            if len(encoding) >= self._max_own + _NUM_AT_CUT:
                return encoding
        return self._encode(text)

    def _encode(self, text: str) -> Encoding:
        # `encode` holds the GIL: one hostile text would stop a worker for 0.2 s.
        return self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0]

    def _note(self, ids: list[int]) -> str | None:
        num_unknown = ids.count(self._unknown) if self._unknown is not None else 0
        if num_unknown < _MAX_UNKNOWN * len(ids):
            return None
        return (
            f"{num_unknown} of {len(ids)} tokens are unknown to this model, so it may not know the "
            "language of the text"
        )


def build(metadata: Mapping[str, str], vocab_size: int, max_tokens: int) -> TextReader:
    """Build the reader of one backbone. Raises SpecMismatch."""
    tokenizer_json = metadata.get(METADATA_KEY)
    if not tokenizer_json:
        raise SpecMismatch(
            f"the backbone's ONNX file has no metadata `{METADATA_KEY}`, so texts cannot be "
            "tokenised for it; export the backbone again"
        )
    tokenizer = _parse(tokenizer_json)
    # Files have the settings of who saved them: that of all-MiniLM-L6-v2 cuts and fills to 128.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # A text that says [SEP] or <s> has them as words, and they end nothing.
    tokenizer.encode_special_tokens = True
    num_added = tokenizer.num_special_tokens_to_add(False)
    if num_added >= max_tokens:
        raise SpecMismatch(
            f"the tokenizer adds {num_added} tokens to every text, and max_tokens is {max_tokens}; "
            "a spec needs a larger max_tokens"
        )
    fields = json.loads(tokenizer_json)
    largest = _largest_id(fields)
    if largest >= vocab_size:
        raise SpecMismatch(
            f"the tokenizer has the token {largest:,}, and the backbone's vocab_size is "
            f"{vocab_size:,}; export the backbone with the tokenizer that it was trained with"
        )
    return TextReader(tokenizer, max_tokens, _unknown_id(tokenizer, fields))


def check_installed() -> None:
    """Raises SpecMismatch."""
    if find_spec("tokenizers") is None:
        raise SpecMismatch(
            "texts need the package tokenizers, which is not installed: pip install "
            "'evergreen-classifier[text]'"
        )


def _parse(tokenizer_json: str) -> Tokenizer:
    # Nothing of it is ever downloaded, and a worker runs texts in threads of its own.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    check_installed()
    # Imported here: an installation for images does not have it.
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # the package raises nothing more exact
        raise SpecMismatch(
            f"the tokenizer in the backbone's ONNX file cannot be read ({error}); export the "
            "backbone again, with the tokenizer.json that it was published with"
        ) from error


def _unknown_id(tokenizer: Tokenizer, fields: dict[str, Any]) -> int | None:
    model = fields["model"]
    if "unk_id" in model:  # Unigram names its place
        unknown = model["unk_id"]
        return None if unknown is None else int(unknown)
    name = model.get("unk_token")
    return None if name is None else tokenizer.token_to_id(name)


def _largest_id(fields: dict[str, Any]) -> int:
    vocab = fields["model"]["vocab"]
    ids = vocab.values() if isinstance(vocab, dict) else range(len(vocab))
    added = (int(token["id"]) for token in fields.get("added_tokens", ()))
    return max(max(ids, default=0), max(added, default=0))


def _beginning(text: str, max_characters: int) -> str:
    """Cut at a space, if there is one. What follows a space changes no token before it."""
    cut = max(text.rfind(space, 0, max_characters) for space in " \n\t")
    return text[: cut if cut > 0 else max_characters]
