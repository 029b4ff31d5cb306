"""JSON: one object on each line, or a list of them, which may be tasks of Label Studio."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from core.errors import InvalidArchive, UndecodableText
from core.exchange.reading.label_rows import LabelRow
from core.exchange.reading.label_studio import labels_of_task, scan
from core.exchange.reading.source import Unreadable
from core.exchange.reading.source_file import shown
from core.exchange.tables.columns import SPLIT, Columns
from core.exchange.tables.rows import MAX_ROW_BYTES, TextRow, problem
from core.inputs.tokens import text as texts

_UTF8_MARK = b"\xef\xbb\xbf"
_MAX_LIST_BYTES = 100_000_000
# So many objects are looked at for the fields that all may have.
_LOOKED_AT = 100


class JsonTable:
    def __init__(self, raw: BinaryIO, name: str, columns: Columns) -> None:
        """Raises InvalidArchive, InvalidRequest."""
        self._raw = raw
        self._name = name
        self._columns = columns
        self._start = _after_mark(raw)
        self._is_list = raw.read(1 << 16).lstrip()[:1] == b"["
        self._check_fields()

    def rows(self) -> Iterator[TextRow]:
        for number, (row, offset) in enumerate(self._pieces(), start=1):
            place = f"{'task' if self._is_list else 'line'} {number:,}"
            if row is None:
                yield problem(place, f"more than {MAX_ROW_BYTES:,} bytes")
            elif row.strip():
                yield self._row(place, row, offset)

    def text_of(self, row: bytes) -> bytes:
        found = self._text(_parse(row))
        if found is None:
            raise Unreadable("the file was changed meanwhile")
        return found

    def _pieces(self) -> Iterator[tuple[bytes | None, int]]:
        """Each object with its place in the file; None: it is too long."""
        return self._objects() if self._is_list else self._lines()

    def _lines(self) -> Iterator[tuple[bytes | None, int]]:
        offset = self._raw.seek(self._start)
        while line := self._raw.readline(MAX_ROW_BYTES):
            num_bytes = len(line)
            is_whole = num_bytes < MAX_ROW_BYTES or line.endswith(b"\n")
            rest = b"" if is_whole else self._raw.readline(MAX_ROW_BYTES)
            while rest:
                num_bytes += len(rest)
                rest = b"" if rest.endswith(b"\n") else self._raw.readline(MAX_ROW_BYTES)
            yield line if is_whole else None, offset
            offset += num_bytes

    def _objects(self) -> Iterator[tuple[bytes | None, int]]:
        self._raw.seek(self._start)
        content = self._raw.read(_MAX_LIST_BYTES + 1)
        if len(content) > _MAX_LIST_BYTES:
            raise InvalidArchive(
                f"{shown(self._name)} is a list of more than {_MAX_LIST_BYTES:,} bytes; write one "
                "object on each line, as .jsonl"
            )
        # As Latin-1, each byte is a character, and a byte that is not UTF-8 spoils one object.
        for _, start, end in scan(content.decode("latin-1"), self._name):
            yield content[start:end], self._start + start

    def _row(self, place: str, row: bytes, offset: int) -> TextRow:
        try:
            fields = _parse(row)
            if not isinstance(fields, dict):
                return problem(place, "no object")
            text = self._text(fields)
        except Unreadable as error:
            return problem(place, str(error))
        if text is None:
            return problem(place, f"no text in the field {shown(self._columns.wished_text, 60)}")
        return TextRow(place, self._says(place, fields), text, offset, len(row))

    def _says(self, place: str, fields: dict[str, Any]) -> LabelRow:
        if isinstance(fields.get("data"), dict):
            return labels_of_task(fields, place)
        label = _field(fields, self._columns.wished_label)
        if isinstance(label, dict):  # the shorter form of Label Studio
            label = label.get("choices")
        if isinstance(label, list) and len(label) == 1:
            label = label[0]
        if isinstance(label, list):
            return LabelRow(place, problem="several labels", is_conflict=bool(label))
        if isinstance(label, int) and not isinstance(label, bool):
            label = str(label)
        split = _field(fields, SPLIT)
        if not isinstance(label, str | None) or not isinstance(split, str | None):
            return LabelRow(place, problem="a label or a split that is no text")
        return LabelRow(place, (label or "").strip(), (split or "").strip())

    def _text(self, fields: Any) -> bytes | None:
        data = fields.get("data") if isinstance(fields, dict) else None
        text = _field(data if isinstance(data, dict) else fields, self._columns.wished_text)
        if not isinstance(text, str):
            return None
        try:
            return texts.to_bytes(text)
        except UndecodableText as error:
            raise Unreadable(str(error)) from error

    def _check_fields(self) -> None:
        """Raises InvalidRequest if none of the first objects has a text or a label."""
        seen: dict[str, None] = {}
        for number, (row, _) in enumerate(self._pieces()):
            if number >= _LOOKED_AT:
                break
            fields = _fields_or_none(row)
            if fields is None:
                continue
            if isinstance(fields.get("data"), dict):
                fields = {**fields["data"], self._columns.wished_label: None}
            seen.update(dict.fromkeys(fields))
        if seen:
            self._columns.find([*seen], self._name)
        elif not self._is_list and not _is_blank(self._raw, self._start):
            raise InvalidArchive(
                f"{shown(self._name)} has no JSON object on its first {_LOOKED_AT} lines"
            )


def _parse(row: bytes) -> Any:
    try:
        return json.loads(row)
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8: byte {error.start:,} of it does not fit") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable("no JSON") from error


def _fields_or_none(row: bytes | None) -> dict[str, Any] | None:
    try:
        fields = _parse(row or b"")
    except Unreadable:
        return None
    return fields if isinstance(fields, dict) else None


def _field(fields: Any, wished: str) -> Any:
    if not isinstance(fields, dict) or wished in fields:
        return fields[wished] if isinstance(fields, dict) else None
    folded = wished.casefold()
    return next((value for key, value in fields.items() if key.casefold() == folded), None)


def _after_mark(raw: BinaryIO) -> int:
    raw.seek(0)
    start = len(_UTF8_MARK) if raw.read(len(_UTF8_MARK)) == _UTF8_MARK else 0
    return raw.seek(start)


def _is_blank(raw: BinaryIO, start: int) -> bool:
    raw.seek(start, io.SEEK_SET)
    return not raw.read(1 << 16).strip()
