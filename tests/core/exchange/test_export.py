"""The labelled set goes out in three formats, and comes in as it was."""

from __future__ import annotations

import csv
import json
import zipfile
from io import BytesIO, StringIO
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

from core.class_names import NONE_OF_THESE
from core.errors import StoreError
from core.exchange.exporting import export as module
from core.exchange.exporting import labelled_set
from core.exchange.exporting.export import Export
from core.exchange.exporting.export_rows import Format
from core.labelling import labels
from core.labelling.label_request import LabelRequest
from core.settings import Settings
from core.store.blobs import LocalBlobs
from core.store.store import Store, open_store
from tests.core.exchange.archives import photo, photos
from tests.core.exchange.import_jobs import Worker, counts
from tests.core.labelled_store import label

pytestmark = pytest.mark.slow  # not in make check

ARCHIVES: tuple[Format, ...] = ("folder", "jsonl", "label-studio")
ODD = (
    *("cat", "<img onerror>", "a/b", "a\\b", "..", ".hidden", "CON", "nul.txt", "dots...", "test"),
    *(
        "😀👩‍👩‍👧",
        "x" * 100,
        "ä" * 100,
        "quote\"d, and 'more'",
        "=1+1",
        "@eaDir",
        NONE_OF_THESE,
        "-rf",
    ),
)


class Held(NamedTuple):
    image: str
    label: str
    is_held_out: bool


def held(store: Store) -> set[Held]:
    with store.db.read() as conn:
        return {Held(row.image, row.label, row.is_held_out) for row in labels.current(conn)}


def exported(store: Store, format: Format, images: bool = True) -> bytes:
    return b"".join(Export.begin(store, format, images).pieces())


def read_zip(content: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(BytesIO(content))
    assert archive.testzip() is None
    return archive


@pytest.fixture
def worker(store: Store, tmp_path: Path) -> Worker:
    """A store with two sides and a class of each odd name."""
    made = Worker(store, tmp_path / "machine")
    made.imported(photos("test/cat/0.png", "test/dog/1.png", "train/cat/2.png", "train/dog/3.png"))
    for seed, name in enumerate(ODD, start=4):
        label(store, LabelRequest(name, "bob"), photo(seed))
    return made


@pytest.fixture
def empty(tmp_path: Path) -> Worker:
    settings = Settings(home=tmp_path / "empty")
    return Worker(open_store(settings), settings.home)


@pytest.mark.parametrize("format", ARCHIVES)
def test_export_comes_into_an_empty_home_as_it_was(
    worker: Worker, empty: Worker, format: Format
) -> None:
    done = empty.imported(exported(worker.store, format))
    assert counts(done)["added"] == 4 + len(ODD)
    assert held(empty.store) == held(worker.store)
    assert {name for _, name, _ in held(empty.store)} == {*ODD, "dog"}
    empty.store.db.close()


def test_folders_alone_say_the_sides_too(worker: Worker, empty: Worker) -> None:
    archive = read_zip(exported(worker.store, "folder"))
    kept = {
        name: archive.read(name) for name in archive.namelist() if not name.startswith("labels")
    }
    empty.imported(kept)
    sides = {(image, side) for image, _, side in held(empty.store)}
    assert sides == {(image, side) for image, _, side in held(worker.store)}
    empty.store.db.close()


def test_each_row_says_who_and_when_and_which_bytes(worker: Worker) -> None:
    archive = read_zip(exported(worker.store, "jsonl"))
    rows = [json.loads(line) for line in archive.read("labels.jsonl").splitlines()]
    assert len(rows) == 4 + len(ODD)
    cat = next(row for row in rows if row["label"] == "cat" and row["who"] == "bob")
    assert cat["labelled_at"] == "1970-01-01T00:00:01.000Z"
    assert (cat["split"], cat["source"]) == ("train", "feedback")
    assert archive.read(cat["image"]) == worker.store.blobs.get(cat["sha256"])
    rows = list(csv.DictReader(StringIO(exported(worker.store, "folder", False).decode())))
    assert [row["label"] for row in rows if row["who"] == "bob"] == list(ODD)
    assert rows[0]["image"] == "/v1/examples/1/image?size=whole"


def test_tasks_have_the_form_that_comes_with_them(worker: Worker) -> None:
    archive = read_zip(exported(worker.store, "label-studio"))
    (task, *_) = json.loads(archive.read("tasks.json"))
    assert task["data"]["image"] == "/data/local-files/?d=images/1.png"
    (result,) = task["annotations"][0]["result"]
    form = ElementTree.fromstring(archive.read("label-studio.xml"))
    assert form[0].attrib == {"name": result["to_name"], "value": "$image"}
    assert form[1].attrib["name"] == result["from_name"]
    assert {choice.attrib["value"] for choice in form[1]} == {*ODD, "dog"}
    assert len(json.loads(exported(worker.store, "label-studio", False))) == 4 + len(ODD)


def test_lost_and_damaged_images_are_left_out_and_named(worker: Worker) -> None:
    with worker.store.db.read() as conn:
        lost, damaged, *_ = labels.current(conn)
    worker.store.blobs.delete(lost.image)
    assert isinstance(worker.store.blobs, LocalBlobs)
    worker.store.blobs._path(damaged.image).write_bytes(b"other bytes")
    archive = read_zip(exported(worker.store, "jsonl"))
    report = json.loads(archive.read("report.json"))
    assert [(each["id"], each["why"]) for each in report["left_out"]] == [
        (lost.example_id, "blob-missing"),
        (damaged.example_id, "checksum-mismatch"),
    ]
    assert (report["exported"], report["left_out_total"]) == (2 + len(ODD), 2)
    assert len(archive.read("labels.jsonl").splitlines()) == 2 + len(ODD)


def test_export_is_of_one_snapshot(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelled_set, "_PAGE", 2)
    before = held(worker.store)
    pieces = Export.begin(worker.store, "jsonl", with_images=False)
    label(worker.store, LabelRequest("later"), photo(0))
    label(worker.store, LabelRequest("later"), photo(99))
    rows = b"".join(pieces.pieces()).splitlines()
    assert [json.loads(row)["label"] for row in rows] == [
        name for _, name, _ in sorted(before, key=lambda each: _id(worker.store, each.image))
    ]


def _id(store: Store, image: str) -> int:
    with store.db.read() as conn:
        return next(row.example_id for row in labels.current(conn) if row.image == image)


def test_pieces_are_sent_while_the_set_is_read(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that memory does not grow with the set, and a client that leaves ends the work."""
    monkeypatch.setattr(labelled_set, "_PAGE", 3)
    monkeypatch.setattr("core.exchange.exporting.zip_stream._SEND_BYTES", 1)
    monkeypatch.setattr(module, "_PIECE_BYTES", 1)
    read: list[str] = []
    get = worker.store.blobs.get
    monkeypatch.setattr(
        worker.store.blobs, "get", lambda digest: read.append(digest) or get(digest)
    )
    pieces = Export.begin(worker.store, "folder", with_images=True).pieces()
    assert isinstance(next(pieces), bytes)
    assert len(read) == 1
    pieces.close()  # type: ignore[attr-defined]
    assert len(read) == 1
    only_labels = list(Export.begin(worker.store, "folder", with_images=False).pieces())
    assert len(only_labels) == 4 + len(ODD) + 1


def test_store_that_goes_away_ends_the_export_without_an_end(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: str) -> bytes:
        raise StoreError("away")

    monkeypatch.setattr(worker.store.blobs, "get", away)
    with pytest.raises(StoreError):
        exported(worker.store, "folder")


@pytest.mark.parametrize("format", ARCHIVES)
def test_empty_set_is_an_archive_too(store: Store, format: Format) -> None:
    archive = read_zip(exported(store, format))
    assert json.loads(archive.read("report.json"))["exported"] == 0
    if format == "label-studio":
        assert json.loads(archive.read("tasks.json")) == []
        assert json.loads(exported(store, format, False)) == []
