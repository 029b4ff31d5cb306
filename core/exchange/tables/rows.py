"""What a table says: a text and its label in each row, and what is wrong with a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from core.exchange.reading.label_rows import LabelRow

MAX_ROWS = 1_000_000
#: Of the bytes of one row, and of a line of it. A text has 20,000 characters unless a setting
#: allows more, and JSON takes up to 12 bytes for one of them.
MAX_ROW_BYTES = 8_000_000


@dataclass(frozen=True, slots=True)
class TextRow:
    # For people: `row 17`, as spreadsheets number them, or `line 17`.
    place: str
    # What it says but for the text, which `problem` is about too.
    says: LabelRow
    # As they stand in the table: they may not be UTF-8.
    text: bytes = b""
    # Where the row is in the file, in bytes.
    offset: int = 0
    num_bytes: int = 0


class TableFormat(Protocol):
    """How the rows of one file are written. Its first line has been read."""

    def rows(self) -> Iterator[TextRow]:
        """All rows, once. Raises InvalidArchive."""

    def text_of(self, row: bytes) -> bytes:
        """The text of a row that `rows` gave the place of. Raises Unreadable."""


def problem(place: str, why: str, *, is_conflict: bool = False) -> TextRow:
    return TextRow(place, LabelRow(place, problem=why, is_conflict=is_conflict))
