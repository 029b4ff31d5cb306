"""Labels by folders: `class/photo.jpg`, below a split (`train/class/photo.jpg`) or above one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.class_names import normalise
from core.errors import InputError, InvalidLabel, InvalidRequest
from core.exchange.reading.items import Item, Layout, set_aside
from core.exchange.reading.source import Source
from core.exchange.reading.source_file import SourceFile, shown
from core.exchange.reading.splits import is_split_folder, side_of

_NO_CLASS = "not in a folder of a class"
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class _Where:
    """At which depth a path names the class and the split. None: no folder is a split."""

    class_at: int
    split_at: int | None = None


def label_by_folders(source: Source, layout: Layout, wrapper: int = 0) -> list[Item]:
    """Label each file by the folders that it is in. `wrapper` of them, from the top, say nothing.

    Raises InvalidRequest if no file is in a folder, or if some folders at the top are called as
    splits are and others are not; InvalidLabel if a folder has a name that no class can have.
    """
    asides = {file.parts: set_aside(file) for file in source.files}
    images = [file for file in source.files if asides[file.parts] is None]
    where = _where([file.parts[wrapper:] for file in images], layout)
    labels: dict[str, str] = {}
    items: list[Item] = []
    for file in source.files:
        aside = asides[file.parts] or set_aside(file)
        if aside is not None:
            items.append(aside)
            continue
        parts = file.parts[wrapper:]
        if len(parts) < where.class_at + 2:
            items.append(Item(file, kind="ignored", why=_NO_CLASS))
            continue
        folder = parts[where.class_at]
        if folder not in labels:
            labels[folder] = _label_of(folder)
        side = None if where.split_at is None else side_of(parts[where.split_at])
        items.append(Item(file, labels[folder], side))
    if not labels:
        kind = source.material.kind
        raise InvalidRequest(
            f"{source.name} holds no {kind.plural} in folders; put them into one folder per class, "
            f"as in {source.material.example}, or add a file labels.csv with the columns "
            f"{kind.wire.field} and label"
        )
    return items


def wrapper_depth(files: Sequence[SourceFile], may_have_wrapper: bool, layout: Layout) -> int:
    """How many single folders are around the rest.

    Where nothing says that there may be one, such a folder is a class, unless it holds splits.
    """
    paths = [file.parts for file in files if set_aside(file) is None]
    depth = 0
    while top := only_folder([parts[depth:] for parts in paths]):
        is_in_folders = all(len(parts) >= depth + 3 for parts in paths)
        if layout == "classes":
            return depth + int(may_have_wrapper and is_in_folders)
        if is_split_folder(top) or not is_in_folders:
            return depth
        if not may_have_wrapper and not _holds_splits([parts[depth + 1 :] for parts in paths]):
            return depth
        depth += 1
    return depth


def only_folder(paths: Sequence[Sequence[str]]) -> str | None:
    """The folder at the top that all of these files are in, if there is one."""
    tops = {parts[0] if len(parts) > 1 else "" for parts in paths}
    return next(iter(tops)) or None if len(tops) == 1 else None


def _holds_splits(paths: Sequence[Sequence[str]]) -> bool:
    return all(len(parts) > 2 and is_split_folder(parts[0]) for parts in paths)


def _where(paths: Sequence[Sequence[str]], layout: Layout) -> _Where:
    if layout == "classes":
        return _Where(0)
    tops = sorted({parts[0] for parts in paths if len(parts) > 1})
    splits = [top for top in tops if is_split_folder(top)]
    others = [top for top in tops if not is_split_folder(top)]
    if splits and others:
        raise InvalidRequest(
            f"the folders {_named(splits)} are called as parts of a data set, and stand beside "
            f"{_named(others)}; keep only folders of classes, or only such parts, or insist with "
            "layout=classes that each folder is a class"
        )
    if splits:
        return _Where(class_at=1, split_at=0)
    below = {parts[1] if len(parts) > 2 else "" for parts in paths if len(parts) > 1}
    if below and all(map(is_split_folder, below)):
        return _Where(class_at=0, split_at=1)
    return _Where(0)


def _named(names: Sequence[str]) -> str:
    first = ", ".join(repr(shown(name, 40)) for name in names[:_MAX_NAMED])
    return first if len(names) <= _MAX_NAMED else f"{first} and {len(names) - _MAX_NAMED:,} more"


def _label_of(folder: str) -> str:
    try:
        return normalise(folder)
    except InputError as error:
        raise InvalidLabel(f"the folder {shown(folder)!r} names no class: {error}") from error
