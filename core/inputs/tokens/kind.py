"""Texts as what a home classifies, and how they become the tokens that one backbone takes.

T tokens of a text; B texts of a batch.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from core.errors import InputError, SpecMismatch, UndecodableText
from core.inputs.kind import Array, InputKind, Limits, Wire
from core.inputs.tokens import excerpt, reader
from core.inputs.tokens import text as texts
from core.inputs.tokens.fingerprint import TextFingerprint, fingerprint
from core.inputs.tokens.reader import TextReader

MEDIA_TYPE = "text/plain; charset=utf-8"
# Where the shorter texts of a batch end. No tokenizer has it as an id.
FILL = -1
# A token between the two that begin and end a text. Encoders of the BERT family take fewer than
# 8,192, and the work grows with the square.
_MIN_TOKENS, _MAX_TOKENS = 3, 8_192
_GOLDEN_TOKENS = 32
_NO_LIMITS = Limits(max_characters=sys.maxsize)


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """Keep the first `max_tokens` tokens of a text, those that begin and end every text included.

    `vocab_size` is the number of tokens that the backbone has embeddings of.
    """

    key: ClassVar[str] = "tokens"

    vocab_size: int
    max_tokens: int = 256

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Any) -> TokenSpec:
        """Raises SpecMismatch if `fields` asks for tokens that this code does not make."""
        names = {"vocab_size", "max_tokens"}
        is_whole = isinstance(fields, Mapping) and set(fields) == names
        if not is_whole or any(type(value) is not int for value in fields.values()):
            raise SpecMismatch(f"the token spec {fields} is not two integers, {sorted(names)}")
        spec = cls(**fields)
        if spec.vocab_size < 1 or not _MIN_TOKENS <= spec.max_tokens <= _MAX_TOKENS:
            raise SpecMismatch(
                f"the token spec {fields} is not one this release makes; it makes those with "
                f"vocab_size >= 1 and max_tokens from {_MIN_TOKENS} to {_MAX_TOKENS:,}"
            )
        return spec

    def reader(self, metadata: Mapping[str, str]) -> TextReader:
        return reader.build(metadata, self.vocab_size, self.max_tokens)

    def golden(self, seed: int) -> Array:
        """Tokens [1, 32], or fewer where a spec keeps fewer, from the raw bit stream (NEP 19)."""
        num_tokens = min(_GOLDEN_TOKENS, self.max_tokens)
        raw = np.random.PCG64(seed).random_raw(num_tokens)
        return (raw % np.uint64(self.vocab_size)).astype(np.int64)[None]

    def problem_of(self, batch: Array) -> str | None:
        if batch.dtype != np.int64 or batch.ndim != 2:
            return f"tokens are {batch.dtype} {list(batch.shape)}; int64 [B, T] is needed"
        num_tokens = batch.shape[1]
        if not 1 <= num_tokens <= self.max_tokens:
            return f"texts have {num_tokens} tokens; this version takes 1 to {self.max_tokens}"
        if not len(batch):
            return None
        least, largest = int(batch.min()), int(batch.max())
        if least < FILL or largest >= self.vocab_size:
            return (
                f"tokens are from {least} to {largest}; this version takes 0 to "
                f"{self.vocab_size - 1}, and {FILL} after the end of a text"
            )
        is_token_BT = batch >= 0
        if not is_token_BT[:, 0].all() or (np.diff(is_token_BT.astype(np.int8)) > 0).any():
            return f"a text has {FILL} before its last token; it stands after the end only"
        return None

    def tensor_shape(self) -> None:
        """Requests carry texts, whose tokens are no matter of the sender."""


class TextKind:
    name = "text"
    noun = "text"
    plural = "texts"
    spec_key = TokenSpec.key
    wire = Wire(
        "text",
        ("text/plain",),
        "text/plain",
        "text='my card was charged twice'",
        "text",
        "texts",
        ("utf-8", "utf8", "us-ascii", "ascii"),
    )
    onnx_inputs: tuple[str, ...] = ("input_ids", "attention_mask")
    has_fixed_shape = False
    # On an emulated Haswell, MiniLM's embeddings had cosines from 0.986 with those of a CPU with
    # VNNI. With exact products they were equal.
    needs_exact_products = True
    has_excerpts = True
    undecodable: type[InputError] = UndecodableText
    stored_types = "text/plain"
    preview_type = MEDIA_TYPE
    preview_suffix = ".txt"

    def check_installed(self) -> None:
        reader.check_installed()

    def read_spec(self, fields: Any) -> TokenSpec:
        """Raises SpecMismatch."""
        return TokenSpec.from_json(fields)

    def join(self, batches: Sequence[Array]) -> Array:
        """Returns tokens_BT, as long as the longest text."""
        if len(batches) == 1:
            return batches[0]
        num_tokens = max((batch.shape[1] for batch in batches), default=0)
        tokens_BT = np.full((sum(map(len, batches)), num_tokens), FILL, np.int64)
        row = 0
        for batch in batches:
            tokens_BT[row : row + len(batch), : batch.shape[1]] = batch
            row += len(batch)
        return tokens_BT

    def feed(self, batch: Array) -> dict[str, Array]:
        mask_BT = (batch >= 0).astype(np.int64)
        return {"input_ids": batch * mask_BT, "attention_mask": mask_BT}

    def runs(self, batch: Array) -> Sequence[Array]:
        """Each text alone, and none of what fills it up: a CPU would compute that for nothing."""
        lengths_B = np.count_nonzero(batch >= 0, axis=1)
        return [batch[row : row + 1, :length] for row, length in enumerate(lengths_B)]

    def probe(self, shapes: Sequence[Sequence[Any]]) -> None:
        """None: the optimised form of an encoder loads in the same time, and was 10 % slower."""

    def encode(self, value: str) -> bytes:
        return texts.to_bytes(value)

    def kept(self, content: bytes) -> bytes:
        return texts.without_mark(content)

    def measure(self, content: bytes, limits: Limits) -> tuple[int, int]:
        """Characters and lines."""
        text = texts.read(content, limits)
        return len(text), len(text.splitlines())

    def fingerprint(self, content: bytes, limits: Limits) -> TextFingerprint:
        return fingerprint(content, limits)

    def preview(self, content: bytes, limits: Limits) -> bytes:
        return excerpt.shorten(texts.read(content, limits)).encode()

    def preview_size(self, width: int, height: int) -> tuple[int, int]:
        """At most: blank characters are left out."""
        return min(width, excerpt.MAX_CHARACTERS), 1

    def is_whole_preview(self, preview: bytes) -> bool:
        """A power cut leaves a file empty, or with NUL where its blocks were never written."""
        try:
            texts.read(preview, _NO_LIMITS)
        except InputError:
            return False
        return True

    def excerpt(self, content: bytes) -> str | None:
        """One line. None where the text cannot be read."""
        try:
            return excerpt.shorten(texts.read(content, _NO_LIMITS))
        except InputError:
            return None

    def media_type(self, content: bytes) -> str:
        return MEDIA_TYPE


TOKENS: InputKind = TextKind()
