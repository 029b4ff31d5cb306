"""What labelled inputs come from: a zip archive, a folder on disk, or a table."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from core.exchange.reading.items import Item
    from core.exchange.reading.material import Material

_MAX_SHOWN = 200


class Unreadable(Exception):
    """One file cannot be read, for the reason that the text gives. The others may be well."""


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


class Source(Protocol):
    material: Material

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def files(self) -> list[SourceFile]:
        """All of them, in the same order each time."""

    @property
    def may_have_wrapper(self) -> bool:
        """Whether a single folder at the top may be there by the way in which it was packed."""

    def labelled(self) -> list[Item] | None:
        """Its items, if the source is a table, which has labels. Raises InvalidArchive."""

    def read(self, file: SourceFile, max_bytes: int) -> bytes:
        """Raises Unreadable."""


def shown(text: str, max_characters: int = _MAX_SHOWN) -> str:
    """A name as a report has it: one line of plain text, cut if it is absurdly long."""
    plain = "".join(
        "?" if unicodedata.category(c) in ("Cc", "Cs", "Cf", "Zl", "Zp") else c
        for c in text[: max_characters + 1]
    )
    return plain if len(plain) <= max_characters else f"{plain[: max_characters - 1]}…"
