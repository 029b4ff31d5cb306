"""Label files with one row for each image: CSV, and JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidArchive
from core.exchange.reading.source_file import shown

_IMAGE = ("image", "file", "path", "filename", "file_name", "filepath", "image_path")
_LABEL = ("label", "class", "labels", "category", "class_name")
_SPLIT = ("split", "subset", "set")
_DELIMITERS = (",", ";", "\t")
_MAX_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One statement of a label file. `problem`: why it says no label."""

    image: str
    label: str = ""
    split: str = ""
    problem: str | None = None
    # Whether it says two labels, of which neither can be taken.
    is_conflict: bool = False


def decode_text(content: bytes, name: str) -> str:
    """UTF-8, or UTF-16 with its mark, as spreadsheets write. Raises InvalidArchive."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidArchive(
            f"{shown(name)} is not {encoding.upper().removesuffix('-SIG')}: byte {error.start:,} "
            f"is 0x{content[error.start]:02x}; save it as UTF-8"
        ) from error


def read_csv(text: str, name: str) -> Iterator[LabelRow]:
    """Rows as RFC 4180 has them, with a header. Raises InvalidArchive."""
    header_end = text.find("\n")
    header_line = text if header_end < 0 else text[:header_end]
    delimiter = max(_DELIMITERS, key=header_line.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [cell.strip().casefold() for cell in next(rows, [])]
        image_at, label_at = _find(header, _IMAGE), _find(header, _LABEL)
        if image_at is None or label_at is None:
            raise InvalidArchive(
                f"{shown(name)} has the columns {shown(', '.join(header))!r}; its first line must "
                "name the columns image and label, and may name split"
            )
        split_at = _find(header, _SPLIT)
        for number, row in enumerate(rows):
            _check_number(number, name)
            if row:
                image, label = _cell(row, image_at), _cell(row, label_at)
                yield LabelRow(image, label, _cell(row, split_at))
    except csv.Error as error:
        raise InvalidArchive(f"{shown(name)}, line {rows.line_num:,}: {error}") from error


def read_json_lines(text: str, name: str) -> Iterator[LabelRow]:
    """One object on each line. Raises InvalidArchive."""
    for number, line in enumerate(io.StringIO(text)):
        _check_number(number, name)
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidArchive(f"{shown(name)}, line {number + 1:,}, is no JSON") from error
        yield row_of_object(row, f"line {number + 1:,}")


def row_of_object(row: Any, place: str) -> LabelRow:
    """The statement of an object such as {"image": "a.jpg", "label": "cat"}."""
    if not isinstance(row, dict):
        return LabelRow(place, problem="no object with the fields image and label")
    fields = {str(key).casefold(): value for key, value in row.items()}
    image = next((fields[key] for key in _IMAGE if fields.get(key) is not None), None)
    label = next((fields[key] for key in _LABEL if fields.get(key) is not None), "")
    split = next((fields[key] for key in _SPLIT if fields.get(key) is not None), "")
    if not isinstance(image, str):
        return LabelRow(place, problem="no text in the field image")
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if isinstance(label, list):
        return LabelRow(image, problem="several labels", is_conflict=bool(label))
    if not isinstance(label, str) or not isinstance(split, str):
        return LabelRow(image, problem="a label or a split that is no text")
    return LabelRow(image, label, split)


def _check_number(number: int, name: str) -> None:
    if number >= _MAX_ROWS:
        raise InvalidArchive(f"{shown(name)} has more than {_MAX_ROWS:,} rows; import several")


def _find(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _cell(row: Sequence[str], at: int | None) -> str:
    return row[at].strip() if at is not None and at < len(row) else ""
