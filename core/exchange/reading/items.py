"""What is to be imported: each file with its label, or with what becomes of it without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from core.exchange.reading.source_file import SourceFile

Kind = Literal[
    "added",
    "already",
    "relabelled",
    "kept corrections",
    "duplicates",
    "conflicts",
    "unreadable",
    "ignored",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
# How the folders are read. `classes`: those at the top are classes, whatever they are called.
Layout = Literal["auto", "classes"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


@dataclass(frozen=True, slots=True)
class Item:
    file: SourceFile
    label: str = ""
    # The side that it is to have; None: as labels of people get theirs.
    is_held_out: bool | None = None
    # What becomes of it, where it is not even read; None: it is imported.
    kind: Kind | None = None
    why: str = ""


def set_aside(file: SourceFile) -> Item | None:
    """The item of a file that is not read, whatever the labels are. None: it may be an image."""
    if file.unreadable is not None:
        return Item(file, kind="unreadable", why=file.unreadable)
    if file.ignored is not None:
        return Item(file, kind="ignored", why=file.ignored)
    return None
