"""One file of a source of labelled inputs."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

_MAX_SHOWN = 200


@dataclass(frozen=True, slots=True)
class SourceFile:
    # The folders from the top, and the name of the file.
    parts: tuple[str, ...]
    # What the source finds the file by.
    handle: Any
    # Why it is not read: it is no input, or it cannot be read. At most one of them.
    ignored: str | None = None
    unreadable: str | None = None
    # Of an input in a row of a label file: its bytes. None: the source reads it.
    content: bytes | None = None

    @property
    def path(self) -> str:
        return "/".join(self.parts)


def shown(text: str, max_characters: int = _MAX_SHOWN) -> str:
    """A name as a report has it: one line of plain text, cut if it is absurdly long."""
    plain = "".join(
        "?" if unicodedata.category(c) in ("Cc", "Cs", "Cf", "Zl", "Zp") else c
        for c in text[: max_characters + 1]
    )
    return plain if len(plain) <= max_characters else f"{plain[: max_characters - 1]}…"
