"""How each format of an export names an input, and says what is known of it."""

from __future__ import annotations

import csv
import datetime
import io
import json
from dataclasses import dataclass
from typing import Any, Literal, get_args
from xml.sax.saxutils import quoteattr

from core.exchange.exporting.labelled_set import LabelledImage
from core.exchange.exporting.layouts import Layout
from core.exchange.exporting.safe_names import folder_name
from core.exchange.reading.splits import HELD_OUT, TRAINED
from core.exchange.tables.csv_cells import escaped

Format = Literal["folder", "csv", "jsonl", "label-studio"]
FORMATS: tuple[Format, ...] = get_args(Format)
# After the column of the input.
_COLUMNS = ("label", "split", "who", "labelled_at", "source", "sha256", "id")


@dataclass(frozen=True, slots=True)
class RowFormat:
    """The file of labels, in pieces: its beginning, a piece for each input, and its end."""

    format: Format
    layout: Layout
    file: str
    media_type: str
    begin: str = ""
    between: str = ""
    end: str = ""

    @property
    def has_files(self) -> bool:
        """Whether the inputs are files of an archive."""
        return self.format == "folder" or (self.format != "csv" and not self.layout.is_in_rows)

    @property
    def may_be_archive(self) -> bool:
        """An archive has the form of Label Studio, too."""
        return self.has_files or self.format == "label-studio"

    @property
    def is_in_rows(self) -> bool:
        return self.layout.is_in_rows and self.format != "folder"

    def path_of(self, row: LabelledImage, content: bytes) -> str:
        """Where the input is in the archive."""
        name = f"{row.id}.{self.layout.suffix_of(content)}"
        if self.format == "folder":
            return f"{_split(row)}/{folder_name(row.label)}/{name}"
        return f"{self.layout.kind.plural}/{name}"

    def piece(self, row: LabelledImage, path: str | None, text: str | None = None) -> str:
        """`path`: that in the archive; None: the inputs stay on the server. `text`: the input
        itself, where rows have it."""
        shown = text
        if shown is None:
            shown = self.layout.address(row.id) if path is None else path
        moment = datetime.datetime.fromtimestamp(row.labelled_at, datetime.UTC)
        at = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        values = (shown, row.label, _split(row), row.who, at, row.source, row.image, row.id)
        if self.format == "folder":
            return _csv_line(values)
        if self.format == "csv":
            return _csv_line(tuple(escaped(str(value)) for value in values))
        fields = dict(zip((self.layout.column, *_COLUMNS), values, strict=True))
        if self.format == "jsonl":
            return f"{json.dumps(fields, ensure_ascii=False)}\n"
        is_local = path is not None and text is None
        task = _task(fields, self.layout.column, is_local=is_local)
        return json.dumps(task, ensure_ascii=False)


def row_format(format: Format, layout: Layout) -> RowFormat:
    if format in ("folder", "csv"):
        # The texts of a folder are files, which its column is to be called by.
        column = layout.file_column if format == "folder" else layout.column
        header = _csv_line((column, *_COLUMNS))
        return RowFormat(format, layout, "labels.csv", "text/csv; charset=utf-8", header)
    if format == "jsonl":
        return RowFormat(format, layout, "labels.jsonl", "application/x-ndjson")
    return RowFormat(format, layout, "tasks.json", "application/json", "[\n", ",\n", "\n]\n")


def labelling_config(labels: list[str], layout: Layout) -> str:
    """The form of Label Studio that its tasks belong to."""
    choices = "".join(f"    <Choice value={quoteattr(label)}/>\n" for label in labels)
    name = layout.column
    return (
        f'<View>\n  <{layout.tag} name="{name}" value="${name}"/>\n'
        f'  <Choices name="label" toName="{name}" choice="single-radio">\n'
        f"{choices}  </Choices>\n</View>\n"
    )


def _split(row: LabelledImage) -> str:
    return HELD_OUT if row.is_held_out else TRAINED


def _csv_line(values: tuple[Any, ...]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue()


def _task(fields: dict[str, Any], column: str, *, is_local: bool) -> dict[str, Any]:
    """Label Studio finds files below its folder of local files."""
    label = fields.pop("label")
    if is_local:
        fields[column] = f"/data/local-files/?d={fields[column]}"
    choice = {
        "from_name": "label",
        "to_name": column,
        "type": "choices",
        "value": {"choices": [label]},
    }
    return {"data": fields, "annotations": [{"result": [choice]}]}
