"""What a source of one kind of input holds: which files are inputs, and what a label file says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.exchange.reading import junk
from core.exchange.reading.items import Item
from core.exchange.reading.source_file import SourceFile
from core.inputs.kind import InputKind
from core.inputs.pixels.kind import PIXELS

#: The items of a label file whose rows hold the inputs themselves. Raises InvalidRequest if it has
#: no column of them, InvalidArchive.
ReadRows = Callable[[bytes, SourceFile], list[Item]]


@dataclass(frozen=True, slots=True)
class Material:
    kind: InputKind
    # The path of an input in the folder of its class, as an example.
    example: str
    # Why a file is no input by its name alone.
    why_ignored: Callable[[Sequence[str]], str | None]
    # The same of a folder.
    why_folder_ignored: Callable[[Sequence[str]], str | None]
    # None: the rows of a label file name files.
    read_rows: ReadRows | None = None


IMAGES = Material(
    kind=PIXELS,
    example="cat/photo.jpg",
    why_ignored=junk.why_no_image,
    why_folder_ignored=junk.why_no_image,
)
