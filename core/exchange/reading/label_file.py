"""The label file of an import, if there is one: found among the files, read, and joined to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from core.class_names import is_same, normalise
from core.errors import InputError, InvalidArchive, InvalidRequest
from core.exchange.reading.folder_layout import only_folder
from core.exchange.reading.items import Item, set_aside
from core.exchange.reading.junk import NO_TEXT, TEXT
from core.exchange.reading.label_rows import LabelRow, decode_text, read_csv, read_json_lines
from core.exchange.reading.label_studio import read_tasks
from core.exchange.reading.references import BadReference, References
from core.exchange.reading.source import Source, Unreadable
from core.exchange.reading.source_file import SourceFile, shown
from core.exchange.reading.splits import side_of

MAX_BYTES = 100_000_000
_READERS: dict[str, Callable[[str, str], Iterator[LabelRow]]] = {
    "csv": read_csv,
    "tsv": read_csv,
    "jsonl": read_json_lines,
    "ndjson": read_json_lines,
    "json": read_tasks,
}
# As exports call them: these are read where there are others, too.
PREFERRED = ("labels.csv", "labels.jsonl", "tasks.json")
# Says what an export left out.
REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class LabelFile:
    file: SourceFile
    # What it says of other files.
    rows: list[LabelRow]
    # The inputs that it holds itself.
    items: list[Item] = field(default_factory=list)


def find_label_file(source: Source) -> LabelFile | None:
    """The only label file at the top, or in the only folder there; of several, the one with a name
    of `PREFERRED`.

    None: there is none, or what looks like one says no labels while there are folders. Raises
    InvalidArchive.
    """
    images = [file.parts for file in source.files if set_aside(file) is None]
    folder = only_folder(images)
    tops: list[tuple[str, ...]] = [(), (folder,)] if folder else [()]
    for top in tops:
        found = [file for file in source.files if _is_candidate(file, top)]
        if found:
            has_folders = any(len(parts) > len(top) + 1 for parts in images)
            return _read_one_of(source, found, has_folders)
    return None


def _read_one_of(
    source: Source, found: Sequence[SourceFile], has_folders: bool
) -> LabelFile | None:
    named = [file for name in PREFERRED for file in found if file.parts[-1] == name]
    if len(found) > 1 and not named and has_folders:
        return None
    if len(found) > 1 and not named:
        names = ", ".join(repr(shown(file.parts[-1], 40)) for file in found[:5])
        raise InvalidArchive(f"{source.name} has several label files, {names}; leave one of them")
    file = (named or found)[0]
    try:
        return _read(source, file)
    except InvalidArchive:
        if named or not has_folders:
            raise
        return None


def label_by_file(files: Sequence[SourceFile], labels: LabelFile) -> list[Item]:
    """Label the files that the label file names. Every other file is ignored, and named so. What
    it says of files that are not there comes last."""
    name = shown(labels.file.parts[-1], 60)
    references = References([file for file in files if set_aside(file) is None], labels.file)
    by_path: dict[tuple[str, ...], Item] = {}
    missing: list[Item] = []
    for row in labels.rows:
        try:
            file = references.find(row.image)
        except BadReference as error:
            absent = SourceFile((shown(row.image),), None)
            # A statement without an image is named by its place in the label file.
            missing.append(Item(absent, kind="unreadable", why=row.problem or str(error)))
            continue
        item, known = item_of(file, row), by_path.get(file.parts)
        if known is not None and (item.kind or known.kind or not is_same(item.label, known.label)):
            item = Item(file, kind="conflicts", why=f"{name} says two things of it")
        by_path[file.parts] = item
    items = []
    for file in files:
        unnamed = Item(file, kind="ignored", why=f"not named by {name}")
        if file is labels.file:
            unnamed = Item(file, kind="ignored", why="read for the labels")
            items.append(unnamed)
        else:
            items.append(set_aside(file) or by_path.get(file.parts, unnamed))
    return items + missing + labels.items


def _is_candidate(file: SourceFile, top: tuple[str, ...]) -> bool:
    name = file.parts[-1].casefold()
    is_table = file.unreadable is None and file.ignored in (TEXT, NO_TEXT) and name != REPORT
    return is_table and file.parts[:-1] == top and _suffix(name) in _READERS


def _suffix(name: str) -> str:
    return name.casefold().rpartition(".")[2] if "." in name else ""


def _read(source: Source, file: SourceFile) -> LabelFile:
    try:
        content = source.read(file, MAX_BYTES)
    except Unreadable as error:
        raise InvalidArchive(f"{shown(file.path)}: {error}") from error
    read_rows = source.material.read_rows
    if read_rows is None:
        return LabelFile(file, _statements(content, file))
    try:
        return LabelFile(file, [], read_rows(content, file))
    except InvalidRequest as error:  # its rows may name files instead
        try:
            return LabelFile(file, _statements(content, file))
        except InvalidArchive:
            raise InvalidArchive(str(error)) from error


def _statements(content: bytes, file: SourceFile) -> list[LabelRow]:
    read = _READERS[_suffix(file.parts[-1])]
    return list(read(decode_text(content, file.path), file.path))


def item_of(file: SourceFile, row: LabelRow) -> Item:
    """What becomes of the input that a row is about."""
    if row.problem is not None:
        return Item(file, kind="conflicts" if row.is_conflict else "unreadable", why=row.problem)
    if not row.label.strip():
        return Item(file, kind="ignored", why="without a label")
    side = side_of(row.split) if row.split.strip() else None
    if side is None and row.split.strip():
        why = f"its split is {shown(row.split, 40)!r}, which is neither trained nor held out"
        return Item(file, kind="unreadable", why=why)
    try:
        return Item(file, normalise(row.label), side)
    except InputError as error:
        return Item(file, kind="unreadable", why=shown(str(error)))
