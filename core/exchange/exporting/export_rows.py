"""How each format of an export names an image, and says what is known of it."""

from __future__ import annotations

import csv
import datetime
import io
import json
from dataclasses import dataclass
from typing import Any, Literal, get_args
from xml.sax.saxutils import quoteattr

from core.errors import UndecodableImage
from core.exchange.exporting.labelled_set import LabelledImage
from core.exchange.exporting.safe_names import folder_name
from core.exchange.reading.splits import HELD_OUT, TRAINED
from core.inputs.pixels.formats import reader_of

Format = Literal["folder", "jsonl", "label-studio"]
FORMATS: tuple[Format, ...] = get_args(Format)
_COLUMNS = ("image", "label", "split", "who", "labelled_at", "source", "sha256", "id")
_SUFFIXES = {
    "JPEG": "jpg",
    "MPO": "jpg",
    "TIFF": "tif",
    "JPEG2000": "jp2",
    "HEIF": "heic",
}


@dataclass(frozen=True, slots=True)
class RowFormat:
    """The file of labels, in pieces: its beginning, a piece for each image, and its end."""

    format: Format
    file: str
    media_type: str
    begin: str = ""
    between: str = ""
    end: str = ""

    def path_of(self, row: LabelledImage, content: bytes) -> str:
        """Where the image is in the archive."""
        name = f"{row.id}.{suffix_of(content)}"
        if self.format == "folder":
            return f"{_split(row)}/{folder_name(row.label)}/{name}"
        return f"images/{name}"

    def piece(self, row: LabelledImage, path: str | None) -> str:
        """`path`: that in the archive; None: the images stay on the server."""
        image = f"/v1/examples/{row.id}/image?size=whole" if path is None else path
        moment = datetime.datetime.fromtimestamp(row.labelled_at, datetime.UTC)
        at = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        values = (image, row.label, _split(row), row.who, at, row.source, row.image, row.id)
        fields = dict(zip(_COLUMNS, values, strict=True))
        if self.format == "folder":
            return _csv_line(values)
        if self.format == "jsonl":
            return f"{json.dumps(fields, ensure_ascii=False)}\n"
        return json.dumps(_task(fields, is_local=path is not None), ensure_ascii=False)


def row_format(format: Format) -> RowFormat:
    if format == "folder":
        return RowFormat(format, "labels.csv", "text/csv; charset=utf-8", _csv_line(_COLUMNS))
    if format == "jsonl":
        return RowFormat(format, "labels.jsonl", "application/x-ndjson")
    return RowFormat(format, "tasks.json", "application/json", "[\n", ",\n", "\n]\n")


def labelling_config(labels: list[str]) -> str:
    """The form of Label Studio that its tasks belong to."""
    choices = "".join(f"    <Choice value={quoteattr(label)}/>\n" for label in labels)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n'
        '  <Choices name="label" toName="image" choice="single-radio">\n'
        f"{choices}  </Choices>\n</View>\n"
    )


def suffix_of(content: bytes) -> str:
    try:
        reader = reader_of(content)
    except UndecodableImage:  # HEIC, on an installation that does not read it
        return "heic"
    name = "bin" if reader is None or reader.format is None else reader.format
    return _SUFFIXES.get(name, name.lower())


def _split(row: LabelledImage) -> str:
    return HELD_OUT if row.is_held_out else TRAINED


def _csv_line(values: tuple[Any, ...]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue()


def _task(fields: dict[str, Any], *, is_local: bool) -> dict[str, Any]:
    """Label Studio finds images below its folder of local files."""
    label = fields.pop("label")
    if is_local:
        fields["image"] = f"/data/local-files/?d={fields['image']}"
    choice = {
        "from_name": "label",
        "to_name": "image",
        "type": "choices",
        "value": {"choices": [label]},
    }
    return {"data": fields, "annotations": [{"result": [choice]}]}
