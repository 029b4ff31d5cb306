"""How the inputs of each kind stand in an export: images as files, texts in the rows."""

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
    # The column of the input, and that of its file in a folder.
    column: str
    file_column: str
    # Of files in archives that are no folder of classes.
    folder: str
    # Where the server has the input.
    address: str
    # The element of Label Studio that shows it.
    tag: str
    # Whether rows have the input itself.
    is_in_rows: bool
    # The ending of a file's name.
    suffix_of: Callable[[bytes], str]


def suffix_of_image(content: bytes) -> str:
    try:
        reader = reader_of(content)
    except UndecodableImage:  # HEIC, on an installation that does not read it
        return "heic"
    name = "bin" if reader is None or reader.format is None else reader.format
    return _SUFFIXES.get(name, name.lower())


def _suffix_of_text(content: bytes) -> str:
    return "txt"


_LAYOUTS: dict[InputKind, Layout] = {
    PIXELS: Layout(
        column="image",
        file_column="image",
        folder="images",
        address="/v1/examples/{}/image?size=whole",
        tag="Image",
        is_in_rows=False,
        suffix_of=suffix_of_image,
    ),
    TOKENS: Layout(
        column="text",
        file_column="file",
        folder="texts",
        address="/v1/examples/{}/text?size=whole",
        tag="Text",
        is_in_rows=True,
        suffix_of=_suffix_of_text,
    ),
}


def layout_of(kind: InputKind) -> Layout:
    return _LAYOUTS[kind]
