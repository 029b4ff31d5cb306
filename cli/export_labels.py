"""`evergreen export-labels`: write the labelled set to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import home
from cli.actor import actor
from cli.console import count, err, out
from core import audit
from core.errors import InvalidRequest
from core.exchange.exporting.export import Export
from core.exchange.exporting.export_rows import FORMATS, Format
from core.settings import load_settings
from core.system.files import writing_whole

_BY_ENDING: dict[str, Format] = {
    ".zip": "folder",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".json": "label-studio",
}


def export_labels(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The file to write, or a folder to write it to.")
    ],
    format: Annotated[
        str,
        typer.Option(
            metavar="|".join(FORMATS),
            show_default=False,
            help="How labels and inputs are laid out. Without it, as PATH ends, or else folder.",
        ),
    ] = "",
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Only the file of labels, without an archive.")
    ] = False,
) -> None:
    """Write all labelled images or texts to a file.

    It has the label, the side, the author and the time of each, and `evergreen import` takes it. A
    folder archive has train and held_out with one folder per class, and labels.csv. Texts stand in
    the rows of csv, jsonl and label-studio. In csv an apostrophe precedes a cell that a spreadsheet
    would take for a formula. csv has no images. What is lost is left out, and named.
    """
    with home.opened_existing(load_settings()) as store:
        export = Export.begin(store, _format(format, path), not no_images)
        target = path / export.file_name if path.is_dir() else path
        _check_ending(target, export)
        audit.record_read(
            store.db,
            actor(),
            "labels.exported",
            f"labels up to {export.snapshot}",
            format=export.format,
            images=not no_images,
        )
        try:
            with writing_whole(target, is_private=False) as unfinished, unfinished.open("wb") as to:
                num_bytes = sum(to.write(piece) for piece in export.pieces())
        except OSError as error:
            raise InvalidRequest(f"{target} cannot be written: {error.strerror}") from error
    exported = count(export.num_exported, store.kind.noun)
    out.print(f"{target}  {exported}, {num_bytes:,} bytes", soft_wrap=True)
    for left_out in export.left_out:
        err.print(f"Left out, {left_out['why']}: example {left_out['id']}", soft_wrap=True)
    if export.num_left_out > len(export.left_out):
        err.print(f"Left out, all in all: {export.num_left_out:,}")


def _format(text: str, path: Path) -> Format:
    if not text:
        return _BY_ENDING.get(path.suffix.casefold(), "folder")
    for known in FORMATS:
        if text == known:
            return known
    raise InvalidRequest(f"the format is {text[:40]!r}; choose one of {', '.join(FORMATS)}")


def _check_ending(target: Path, export: Export) -> None:
    """Raises InvalidRequest if the file would be called after another format."""
    ending = Path(export.file_name).suffix
    named = target.suffix.casefold()
    if named in _BY_ENDING and named != ending:
        rows = ", or only the file of labels with --no-images" if export.is_archive else ""
        raise InvalidRequest(
            f"{target} would not be a {named} file: write {target.with_suffix(ending).name} with "
            f"--format {export.format}{rows}"
        )
