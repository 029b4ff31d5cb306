"""CSV as RFC 4180 has it, with a header, and as spreadsheets write it: with ; or tabs, a byte order
mark, or a first line `sep=;`.

It is read byte by byte as Latin-1, in which each byte is a character, so a byte that is not UTF-8
spoils one row and not the file. The delimiters, quotes and ends of lines are ASCII.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from core.errors import InvalidArchive
from core.exchange.reading.label_rows import LabelRow
from core.exchange.reading.source_file import shown
from core.exchange.tables.columns import Columns
from core.exchange.tables.csv_cells import EXPORTED, unescaped
from core.exchange.tables.rows import MAX_ROW_BYTES, TextRow, problem

_DELIMITERS = (",", ";", "\t", "|")
_BYTES = "latin-1"
_UTF8_MARK = b"\xef\xbb\xbf"


class CsvTable:
    def __init__(self, raw: BinaryIO, name: str, columns: Columns) -> None:
        """Read the header. Raises InvalidArchive, InvalidRequest."""
        self._name = name
        # It is one for the whole process. Rows are bounded anyhow.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))
        self._lines = _Lines(raw)
        header_line = self._header_line()
        self._delimiter, header = _split_header(header_line, columns)
        self._text_at, self._label_at, self._split_at = columns.find(header, name)
        self._is_ours = {*EXPORTED} <= {*header}

    def rows(self) -> Iterator[TextRow]:
        reader = self._reader(self._lines)
        # The header is row 1.
        for number in itertools.count(2):
            place, offset = f"row {number:,}", self._lines.offset
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield problem(place, f"not CSV: {_why(error)}")
                continue
            if cells is None:
                return
            if cells:
                yield self._row(place, cells, offset)

    def text_of(self, row: bytes) -> bytes:
        lines = io.StringIO(row.decode(_BYTES), newline="")
        return self._text(next(self._reader(lines), []))

    def _reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Strict: a quote that is not closed would take the rows after it into its cell."""
        return csv.reader(lines, delimiter=self._delimiter, strict=True)

    def _header_line(self) -> str:
        try:
            line = next(self._lines, "")
            if line.lower().startswith("sep=") and len(line.rstrip("\r\n")) == len("sep=;"):
                line = next(self._lines, "")
        except csv.Error as error:
            raise InvalidArchive(f"{shown(self._name)} has no header: {error}") from error
        return line

    def _row(self, place: str, cells: Sequence[str], offset: int) -> TextRow:
        try:
            label = _utf_8(_cell(cells, self._label_at)).strip()
            split = _utf_8(_cell(cells, self._split_at)).strip()
        except UnicodeDecodeError:
            return problem(place, "its label or split is not UTF-8")
        label = unescaped(label) if self._is_ours else label
        num_bytes = self._lines.offset - offset
        return TextRow(place, LabelRow(place, label, split), self._text(cells), offset, num_bytes)

    def _text(self, cells: Sequence[str]) -> bytes:
        cell = _cell(cells, self._text_at)
        return (unescaped(cell) if self._is_ours else cell).encode(_BYTES)


class _Lines:
    """The lines of a file as characters that stand for bytes. Goes on after a line that is too
    long."""

    def __init__(self, raw: BinaryIO) -> None:
        raw.seek(0)
        self.offset = len(_UTF8_MARK) if raw.read(len(_UTF8_MARK)) == _UTF8_MARK else 0
        raw.seek(self.offset)
        self._text = io.TextIOWrapper(raw, encoding=_BYTES, newline="")

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        """Raises csv.Error."""
        line = self._text.readline(MAX_ROW_BYTES)
        self.offset += len(line)
        if not line:
            raise StopIteration
        if len(line) < MAX_ROW_BYTES or line.endswith("\n"):
            return line
        while len(rest := self._text.readline(MAX_ROW_BYTES)) == MAX_ROW_BYTES:
            self.offset += len(rest)
        self.offset += len(rest)
        raise csv.Error(f"a line has more than {MAX_ROW_BYTES:,} bytes")


def _split_header(line: str, columns: Columns) -> tuple[str, list[str]]:
    """The delimiter by which the line has the columns, or else that which it has most of."""
    headers = {
        delimiter: next(csv.reader([line], delimiter=delimiter), []) for delimiter in _DELIMITERS
    }
    named = {delimiter: [_name(cell) for cell in cells] for delimiter, cells in headers.items()}
    for delimiter, header in named.items():
        if columns.has_both(header):
            return delimiter, header
    likeliest = max(_DELIMITERS, key=line.count)
    return likeliest, named[likeliest]


def _name(cell: str) -> str:
    return cell.encode(_BYTES).decode("utf-8", "replace").strip()


def _cell(cells: Sequence[str], at: int | None) -> str:
    return cells[at] if at is not None and at < len(cells) else ""


def _utf_8(cell: str) -> str:
    return cell if cell.isascii() else cell.encode(_BYTES).decode()


def _why(error: csv.Error) -> str:
    if "end of data" in str(error):
        return "a quote is not closed, so what follows is not read"
    if "expected after" in str(error):
        return "something follows a closing quote; write a quote inside of a cell twice"
    return str(error)
