"""Where an export has the inputs of each kind: images as files, texts in the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import UndecodableImage
from core.inputs.kind import InputKind
from core.inputs.pixels.formats import reader_of
from core.inputs.pixels.kind import PIXELS
from core.inputs.tokens.kind import TOKENS

_SUFFIXES = {
    "JPEG": "jpg",
    "MPO": "jpg",
    "TIFF": "tif",
    "JPEG2000": "jp2",
    "HEIF": "heic",
}


@dataclass(frozen=True, slots=True)
class Layout:
    kind: InputKind
    # Whether rows have the input itself.
    is_in_rows: bool
    # The ending of a file's name.
    suffix_of: Callable[[bytes], str]

    @property
    def column(self) -> str:
        """Of the input."""
        return self.kind.wire.field

    @property
    def file_column(self) -> str:
        """Of the input's file in a folder."""
        return "file" if self.is_in_rows else self.column

    @property
    def tag(self) -> str:
        """The element of Label Studio that shows the input."""
        return self.column.capitalize()

    def address(self, example_id: int) -> str:
        """Where the server has the input."""
        return f"/v1/examples/{example_id}/{self.column}?size=whole"


def _suffix_of_image(content: bytes) -> str:
    try:
        reader = reader_of(content)
    except UndecodableImage:  # HEIC, on an installation that does not read it
        return "heic"
    name = "bin" if reader is None or reader.format is None else reader.format
    return _SUFFIXES.get(name, name.lower())


_LAYOUTS = {
    PIXELS: Layout(PIXELS, is_in_rows=False, suffix_of=_suffix_of_image),
    TOKENS: Layout(TOKENS, is_in_rows=True, suffix_of=lambda content: "txt"),
}


def layout_of(kind: InputKind) -> Layout:
    return _LAYOUTS[kind]
