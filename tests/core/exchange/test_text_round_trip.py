"""Texts go out in every format, and come into another home as they were."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from io import BytesIO, StringIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from core.exchange.exporting.export import Export
from core.exchange.exporting.export_rows import FORMATS, Format
from core.exchange.importing import jobs
from core.exchange.importing.labeller import Labeller
from core.exchange.sources import Options, table_format
from core.labelling import batches, labels
from core.labelling.label_request import LabelRequest
from core.settings import Settings
from core.store.store import Store, open_store
from tests.core.exchange.archives import packed
from tests.core.exchange.import_jobs import Worker, counts, read
from tests.core.labelled_store import label

pytestmark = pytest.mark.slow  # not in make check

TEXTS = (
    *("plain", 'with "quotes", and; more', " spaces at both ends \t", "two\r\nlines\rthree\n"),
    *(
        "=1+1",
        "'=1+1",
        "-5 degrees",
        "+49 30",
        "@home",
        "\t=1",
        "'quoted'",
        "''-x",
        "=cmd|' /C'!A0",
    ),
    *("Größe 😀 日本", "a\u2028b", "<b>&amp;", "[1]", '{"text": 1}', "sep=;", "null"),
)
CLASSES = ("praise", "=sum", "a/b", "Größe", "test")


def home(path: Path) -> Worker:
    return Worker(open_store(Settings(home=path, input="text")), path)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Worker]:
    made = home(tmp_path / "full")
    for number, text in enumerate(TEXTS):
        name = CLASSES[number % len(CLASSES)]
        label(made.store, LabelRequest(name, "=bob"), text.encode())
    yield made
    made.store.db.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Worker]:
    made = home(tmp_path / "empty")
    yield made
    made.store.db.close()


def held(store: Store) -> set[tuple[bytes, str, bool]]:
    with store.db.read() as conn:
        return {
            (store.blobs.get(row.image), row.label, row.is_held_out) for row in labels.current(conn)
        }


def exported(store: Store, format: Format) -> tuple[str, bytes]:
    export = Export.begin(store, format, with_images=True)
    return export.file_name, b"".join(export.pieces())


@pytest.mark.parametrize("format", FORMATS)
def test_export_comes_into_an_empty_home_as_it_was(
    full: Worker, empty: Worker, format: Format
) -> None:
    name, content = exported(full.store, format)
    done = empty.imported(content, Options(table=table_format(name)))
    assert (done.state, counts(done)["added"]) == ("finished", len(TEXTS))
    assert held(empty.store) == held(full.store)


def test_cells_of_csv_are_no_formulas(full: Worker) -> None:
    name, content = exported(full.store, "csv")
    assert name.startswith("evergreen-labels-")
    rows = list(csv.DictReader(StringIO(content.decode(), newline="")))
    cells = [cell for row in rows for cell in row.values()]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert {row["text"] for row in rows} >= {"'=1+1", "''=1+1", "'quoted'", "plain"}
    lines = [json.loads(line) for line in exported(full.store, "jsonl")[1].splitlines()]
    assert [line["text"] for line in lines] == [*TEXTS]


def test_tasks_show_texts(full: Worker) -> None:
    archive = ZipFile(BytesIO(exported(full.store, "label-studio")[1]))
    assert '<Text name="text" value="$text"/>' in archive.read("label-studio.xml").decode()
    assert json.loads(archive.read("tasks.json"))[0]["data"]["text"] == TEXTS[0]
    assert sorted(archive.namelist()) == ["label-studio.xml", "report.json", "tasks.json"]


def test_lost_text_is_left_out_and_counted(full: Worker) -> None:
    with full.store.db.read() as conn:
        lost, *_ = labels.current(conn)
    full.store.blobs.delete(lost.image)
    export = Export.begin(full.store, "csv", with_images=True)
    assert len(list(csv.reader(StringIO(b"".join(export.pieces()).decode(), newline="")))) == len(
        TEXTS
    )
    assert (export.num_left_out, export.left_out[0]["why"]) == (1, "blob-missing")


def test_folders_of_text_files_are_classes(empty: Worker) -> None:
    entries = {
        "news/bug/1.txt": "it broke",
        "news/bug/2": "\ufeffit broke again",
        "news/praise/a.txt": b"caf\xe9",
        "news/praise/b.png": b"PNG",
        "news/praise/c.txt": "so good",
    }
    done = empty.imported(packed(entries))
    assert counts(done) == {"added": 3, "unreadable": 1, "ignored": 1}
    assert {text for text, *_ in held(empty.store)} == {b"it broke", b"it broke again", b"so good"}


def test_table_is_gone_on_with_where_a_process_was_killed(
    empty: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its columns, duplicates and conflicts, and as one batch."""
    rows = [f"{number:03} texts,{'xy'[number % 2]}" for number in range(100)]
    content = "\n".join(["body,topic", *rows, rows[0], f"{rows[1][:-1]}x", ",x", "z,"])
    options = Options.from_json({"text": "body", "label": "topic", "table": "csv"})
    job = empty.upload(content.encode(), options=options)
    whole = Labeller.label
    seen: list[int] = []

    def stop_after_one(self: Labeller, conn, blobs, to_label, now) -> None:  # type: ignore[no-untyped-def]
        whole(self, conn, blobs, to_label, now)
        seen.append(len(to_label))

    monkeypatch.setattr(Labeller, "label", stop_after_one)
    empty.work(lambda: bool(seen))
    half = read(empty.store, job)
    assert (half.state, half.position) == ("waiting", seen[0])
    done = empty.work()
    assert done is not None
    assert counts(done) == {"added": 100, "duplicates": 1, "conflicts": 1, "ignored": 2}
    assert dict(done.report["problems"])["row 102"] == "the same text as row 2"
    assert done.batch_id is not None
    assert batches.undo(empty.store, done.batch_id, who="ann", now=2.0).retracted == 100
    with empty.store.db.read() as conn:
        assert jobs.get(conn, job.id).options == options.to_json()
