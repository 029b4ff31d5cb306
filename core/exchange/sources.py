"""Open what is to be imported, by what a home classifies and by what the file is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from core.errors import InvalidRequest
from core.exchange.reading import junk
from core.exchange.reading.archive import Archive, check_end
from core.exchange.reading.folder import Folder
from core.exchange.reading.material import IMAGES, Material
from core.exchange.reading.source import Source
from core.exchange.reading.source_file import shown
from core.exchange.tables.columns import DEFAULT, Columns
from core.exchange.tables.table import BY_SUFFIX, FORMATS, Format, Table, read_rows
from core.inputs.kind import InputKind
from core.inputs.tokens.kind import TOKENS

_TEXTS = Material(
    kind=TOKENS,
    example="billing/1.txt",
    why_ignored=junk.why_no_text,
    why_folder_ignored=junk.why_ignored,
    read_rows=partial(read_rows, DEFAULT),
)
_MATERIALS = {each.kind: each for each in (IMAGES, _TEXTS)}


@dataclass(frozen=True, slots=True)
class Options:
    """How a source is read. Part of the row of an import."""

    columns: Columns = DEFAULT
    # None: an archive.
    table: Format | None = None

    def to_json(self) -> dict[str, Any]:
        return {**self.columns.to_json(), "table": self.table}

    @staticmethod
    def from_json(fields: Mapping[str, Any] | None) -> Options:
        """Those of an import that an older release was asked for are None."""
        if fields is None:
            return Options()
        table = next((each for each in FORMATS if each == fields["table"]), None)
        return Options(Columns(fields["text"], fields["label"]), table)


def material_of(kind: InputKind, columns: Columns = DEFAULT) -> Material:
    material = _MATERIALS[kind]
    if material.read_rows is None:
        return material
    return replace(material, read_rows=partial(read_rows, columns))


def has_tables(kind: InputKind) -> bool:
    """Whether a table can hold inputs of the kind."""
    return _MATERIALS[kind].read_rows is not None


def table_format(name: str) -> Format | None:
    """By the ending of a file's name."""
    return BY_SUFFIX.get(name.casefold().rpartition(".")[2]) if "." in name else None


def open_file(path: Path, name: str, kind: InputKind, options: Options) -> Archive | Table:
    """Raises InvalidRequest, InvalidArchive, OSError."""
    material = material_of(kind, options.columns)
    if options.table is None:
        return Archive(path, name, material)
    if not has_tables(kind):
        raise InvalidRequest(
            f"{shown(name)} is a table, and this home classifies {kind.plural}; import a folder or "
            f"a zip archive of {kind.plural}, or make another home for texts with `evergreen init "
            "--input text`"
        )
    return Table(path, options.table, options.columns, name, material)


def check_file(path: Path, name: str, kind: InputKind, options: Options) -> None:
    """Look whether it may be what it is said to be, at little cost.

    Raises InvalidRequest, InvalidArchive, OSError.
    """
    if options.table is None:
        check_end(path, name)
    else:
        open_file(path, name, kind, options).close()


@contextlib.contextmanager
def opened(path: Path, kind: InputKind, columns: Columns) -> Iterator[Source]:
    """A folder, an archive or a table of this machine. Raises InvalidRequest, InvalidArchive."""
    if not path.is_file():
        yield Folder(path, material_of(kind, columns))
        return
    try:
        source = open_file(path, path.name, kind, Options(columns, table_format(path.name)))
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error
    with source:
        yield source
