"""Fuzz the archives of imports: the zip archive, its folders, and the files of labels in it."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

from core.errors import InputError
from core.exchange.reading.archive import Archive
from core.exchange.reading.plan import make_plan
from core.exchange.reading.source import Unreadable
from core.exchange.reading.source_file import SourceFile
from tests.fuzz.target import Target

_MAX_BYTES = 100_000
_TASK = {
    "data": {"image": "/data/upload/1/12345678-a.jpg"},
    "annotations": [{"result": [{"type": "choices", "value": {"choices": ["cat"]}}]}],
}
_FILES_OF_SEEDS: tuple[dict[str, str], ...] = (
    {},
    {"cat/a.jpg": "a", "dog/b.jpg": "b" * 300, "__MACOSX/cat/._a.jpg": "c"},
    {"split/train/cat/a.jpg": "a", "split/val/dog/b.jpg": "b"},
    {"labels.csv": '\ufefffile;class;split\r\n"a.jpg";"c;at";val\r\n', "a.jpg": "a"},
    {"labels.jsonl": '{"image": "a.jpg", "label": ["cat"]}\n5\n', "a.jpg": "a"},
    {"tasks.json": json.dumps([_TASK, {"image": "b.jpg", "choice": "dog"}]), "a.jpg": "a"},
)


def check(content: bytes) -> None:
    path = _folder() / "photos.zip"
    path.write_bytes(content)
    try:
        with Archive(path) as archive:
            items = make_plan(archive, {}).items
            assert {id(file) for file in archive.files} <= {id(item.file) for item in items}
            for item in items:
                if item.kind is None:
                    _read(archive, item.file)
    except InputError:
        return


def _read(archive: Archive, file: SourceFile) -> None:
    try:
        assert len(archive.read(file, _MAX_BYTES)) <= _MAX_BYTES
    except Unreadable:
        return


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzzed-archives-"))


def seeds() -> Iterator[bytes]:
    for files in _FILES_OF_SEEDS:
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            out = BytesIO()
            with zipfile.ZipFile(out, "w", method) as archive:
                for name, content in files.items():
                    archive.writestr(zipfile.ZipInfo(name), content, method)
            yield out.getvalue()


TARGET = Target(check, seeds)
