"""A table as a source: a file with a text and its label in each row.

Its texts stay on disk. Each is read again by its place in the file when it is imported, so a large
table takes little memory.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, get_args

from core.errors import InvalidArchive
from core.exchange.reading.items import Item
from core.exchange.reading.label_file import item_of
from core.exchange.reading.material import Material
from core.exchange.reading.source import Unreadable
from core.exchange.reading.source_file import SourceFile, shown
from core.exchange.tables.columns import Columns
from core.exchange.tables.csv_table import CsvTable
from core.exchange.tables.json_table import JsonTable
from core.exchange.tables.rows import MAX_ROWS, TableFormat, TextRow

Format = Literal["csv", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)
#: By the ending of a file's name.
BY_SUFFIX: dict[str, Format] = {
    "csv": "csv",
    "tsv": "csv",
    "jsonl": "json",
    "ndjson": "json",
    "json": "json",
}
_READERS: dict[Format, Callable[[BinaryIO, str, Columns], TableFormat]] = {
    "csv": CsvTable,
    "json": JsonTable,
}
_MARKS_OF_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Table:
    may_have_wrapper = False

    def __init__(
        self, path: Path, format: Format, columns: Columns, name: str, material: Material
    ) -> None:
        """Raises InvalidArchive, InvalidRequest, OSError."""
        self.material = material
        self.name = shown(name)
        self._items: list[Item] | None = None
        self._raw = path.open("rb")
        try:
            self._format = read_header(self._raw, format, self.name, columns)
            self._texts = path.open("rb", buffering=0)
        except BaseException:
            self._raw.close()
            raise

    @property
    def files(self) -> list[SourceFile]:
        return [item.file for item in self.labelled()]

    def labelled(self) -> list[Item]:
        """One for each row."""
        if self._items is None:
            self._items = list(_items(self._format.rows(), self.name, ()))
        return self._items

    def read(self, file: SourceFile, max_bytes: int) -> bytes:
        """Threads may read at the same time."""
        offset, num_bytes = file.handle
        row = os.pread(self._texts.fileno(), num_bytes, offset)
        if len(row) != num_bytes:
            raise Unreadable("the file was changed meanwhile")
        return self._format.text_of(row)

    def __enter__(self) -> Table:
        return self

    def close(self) -> None:
        self._raw.close()
        self._texts.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_header(raw: BinaryIO, format: Format, name: str, columns: Columns) -> TableFormat:
    """Raises InvalidArchive, InvalidRequest."""
    if raw.read(2) in _MARKS_OF_UTF_16:
        raise InvalidArchive(f"{name} is UTF-16; save it as UTF-8")
    return _READERS[format](raw, name, columns)


def read_rows(columns: Columns, content: bytes, file: SourceFile) -> list[Item]:
    """The items of a table in an archive. Raises InvalidArchive, InvalidRequest."""
    format = BY_SUFFIX[file.parts[-1].casefold().rpartition(".")[2]]
    table = read_header(io.BytesIO(content), format, shown(file.path), columns)
    return list(_items(table.rows(), shown(file.path), file.parts))


def _items(rows: Iterable[TextRow], name: str, archived: tuple[str, ...]) -> Iterator[Item]:
    """`archived`: the path of the table in an archive, of which items keep their text."""
    for number, row in enumerate(rows, start=1):
        if number > MAX_ROWS:
            raise InvalidArchive(f"{name} has more than {MAX_ROWS:,} rows; import several")
        place = (row.offset, row.num_bytes)
        content = row.text if archived else None
        file = SourceFile((*archived, row.place), place, content=content)
        if row.says.problem is None and not row.text.strip():
            yield Item(file, kind="ignored", why="without a text")
        else:
            yield item_of(file, row.says)
