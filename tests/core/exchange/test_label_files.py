"""Which label and which side a label file says, and which of its references are never followed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidArchive
from core.exchange.reading.items import Item
from core.exchange.reading.plan import make_plan
from tests.core.exchange.archives import opened, packed

pytestmark = pytest.mark.slow  # not in make check


def planned(folder: Path, name: str, text: str | bytes, *files: str) -> dict[str, Item]:
    with opened(folder, packed({name: text} | dict.fromkeys(files, b"x"))) as archive:
        return {item.file.path: item for item in make_plan(archive, {}).items}


def said(found: dict[str, Item]) -> dict[str, tuple[str, bool | None]]:
    return {
        path: (item.label, item.is_held_out) for path, item in found.items() if item.kind is None
    }


@pytest.mark.parametrize(
    "text",
    [
        "image,label,split\na.jpg,cat,train\nb.jpg,big dog,test\n",
        "\ufeffFile;Class;Subset\r\na.jpg;cat;train\r\nb.jpg;big dog;val\r\n",
        'split\tid\tfilename\tlabel\ntrain\t1\ta.jpg\tcat\ntest\t2\tb.jpg\t"big dog"',
        'path,label,note,split\n"a.jpg",cat,"two\nlines, ""here""",training\nb.jpg,big dog,,test\n',
    ],
    ids=["plain", "of a spreadsheet", "tabs", "quoted line breaks"],
)
def test_csv_says_labels_and_sides(tmp_path: Path, text: str) -> None:
    found = said(planned(tmp_path, "labels.csv", text, "a.jpg", "b.jpg"))
    assert found == {"a.jpg": ("cat", False), "b.jpg": ("big dog", True)}


def test_csv_in_utf16_is_read_and_other_encodings_are_refused(tmp_path: Path) -> None:
    text = "image,label\na.jpg,Äpfel\n"
    found = planned(tmp_path, "labels.csv", text.encode("utf-16"), "a.jpg")
    assert said(found) == {"a.jpg": ("Äpfel", None)}
    with pytest.raises(InvalidArchive, match=r"labels\.csv is not UTF-8: byte 18 is 0xc4"):
        planned(tmp_path, "labels.csv", text.encode("latin-1"), "a.jpg")


def test_csv_without_the_columns_is_refused_with_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(InvalidArchive, match=r"the columns 'a, b'.*must name the columns image"):
        planned(tmp_path, "labels.csv", "a,b\n1,2\n", "a.jpg")


def test_json_lines_say_labels_and_sides(tmp_path: Path) -> None:
    lines = [
        {"image": "sub/a.jpg", "label": "cat", "split": "train"},
        {"file_name": "b.jpg", "class": "dog"},
        {"image": "c.jpg", "label": ["cat", "dog"]},
        {"image": "d.jpg", "label": 3},
        ["e.jpg", "cat"],
    ]
    text = "\n".join(map(json.dumps, lines)) + "\n\n"
    found = planned(tmp_path, "x.jsonl", text, "sub/a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")
    assert said(found) == {"sub/a.jpg": ("cat", False), "b.jpg": ("dog", None)}
    assert found["c.jpg"].kind == "conflicts"
    assert found["d.jpg"].why == "a label or a split that is no text"
    assert found["e.jpg"].why == "not named by x.jsonl"
    assert found["line 5"].kind == "unreadable"
    assert found["line 5"].why == "no object with the fields image and label"
    with pytest.raises(InvalidArchive, match="line 2, is no JSON"):
        planned(tmp_path, "x.jsonl", '{"image": "a.jpg", "label": "cat"}\n{', "a.jpg")


def task(image: object, *annotations: object, **data: object) -> dict[str, Any]:
    return {"data": {"image": image, **data}, "annotations": list(annotations)}


def choice(*choices: str, **more: object) -> dict[str, Any]:
    part = {"type": "choices", "value": {"choices": list(choices)}}
    return {"result": [{"type": "rectanglelabels", "value": {}}, part], **more}


def test_label_studio_says_labels(tmp_path: Path) -> None:
    tasks = [
        task("/data/upload/12/0a1b2c3d-a.jpg", choice("cat")),
        task("/data/local-files/?d=images/b.jpg", choice("dog"), split="test"),
        task("c.jpg", choice("cat", was_cancelled=True), choice("dog"), choice("dog")),
        task("d.jpg", choice("cat"), choice("dog")),
        task("e.jpg", choice("cat", "dog")),
        task("f.jpg"),
        task(7, choice("cat")),
        {"image": "g.jpg", "choice": "cat", "id": 1},
        "nothing",
    ]
    names = ("images/a.jpg", "images/b.jpg", *(f"{name}.jpg" for name in "cdefg"))
    found = planned(tmp_path, "project.json", json.dumps(tasks, indent=1), *names)
    assert said(found) == {
        "images/a.jpg": ("cat", None),
        "images/b.jpg": ("dog", True),
        "c.jpg": ("dog", None),
        "g.jpg": ("cat", None),
    }
    assert (found["d.jpg"].kind, found["d.jpg"].why) == ("conflicts", "annotators do not agree")
    assert (found["e.jpg"].kind, found["e.jpg"].why) == ("conflicts", "several labels")
    assert (found["f.jpg"].kind, found["f.jpg"].why) == ("ignored", "without a label")
    assert {found["task 7"].kind, found["task 9"].kind} == {"unreadable"}


@pytest.mark.parametrize("text", ["{}", "[1", "[1 2]", "[{]", "", '[{"a":' * 5_000])
def test_json_that_is_no_list_of_tasks_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidArchive, match=r"tasks\.json"):
        planned(tmp_path, "tasks.json", text, "a.jpg")


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("http://host/a.jpg", "an address, which is never fetched"),
        ("https://host/a.jpg", "an address, which is never fetched"),
        ("s3://bucket/a.jpg", "an address, which is never fetched"),
        ("file:///etc/passwd", "an address, which is never fetched"),
        ("//host/a.jpg", "an address, which is never fetched"),
        ("/etc/a.jpg", "an absolute path"),
        ("C:\\a.jpg", "an address, which is never fetched"),
        ("../a.jpg", "a path that leads out of the import"),
        ("/data/local-files/?d=../../a.jpg", "a path that leads out of the import"),
        ("/data/local-files/?d=/etc/a.jpg", "an absolute path"),
        ("b.jpg", "no such file in the import"),
        ("", "it names no image"),
        (".", "it names no image"),
    ],
)
def test_reference_elsewhere_is_never_followed(tmp_path: Path, reference: str, why: str) -> None:
    text = json.dumps({"image": reference, "label": "cat"})
    found = planned(tmp_path, "labels.jsonl", text, "a.jpg")
    assert said(found) == {}
    (item,) = [item for item in found.values() if item.kind == "unreadable"]
    assert item.why.startswith(why)
    assert found["a.jpg"].why == "not named by labels.jsonl"


def test_file_in_another_folder_is_found_if_only_one_has_the_name(tmp_path: Path) -> None:
    text = "image,label\na.jpg,cat\nsub/b.jpg,dog\nc.jpg,cat\nmy%20photo.jpg,cat\n"
    names = ("all/a.jpg", "all/sub/b.jpg", "x/c.jpg", "y/c.jpg", "my photo.jpg")
    found = planned(tmp_path, "labels.csv", text, *names)
    assert set(said(found)) == {"all/a.jpg", "all/sub/b.jpg", "my photo.jpg"}
    assert found["c.jpg"].why == "several files of the import end with this path"


def test_file_named_twice_is_a_conflict_unless_the_labels_agree(tmp_path: Path) -> None:
    text = "image,label\na.jpg,cat\na.jpg,Cat\nb.jpg,cat\nb.jpg,dog\n"
    found = planned(tmp_path, "labels.csv", text, "a.jpg", "b.jpg")
    assert set(said(found)) == {"a.jpg"}
    assert found["b.jpg"].kind == "conflicts"


def test_rows_with_bad_labels_and_splits_are_named(tmp_path: Path) -> None:
    text = f"image,label,split\na.jpg,{'x' * 101},\nb.jpg,cat,other\nc.jpg,,\nd.jpg\n"
    found = planned(tmp_path, "labels.csv", text, *(f"{name}.jpg" for name in "abcd"))
    assert {path: item.kind for path, item in found.items()} == {
        "a.jpg": "unreadable",
        "b.jpg": "unreadable",
        "c.jpg": "ignored",
        "d.jpg": "ignored",
        "labels.csv": "ignored",
    }
    assert "limit is 100" in found["a.jpg"].why
    assert "'other'" in found["b.jpg"].why


def test_label_file_in_the_only_folder_is_found(tmp_path: Path) -> None:
    text = "image,label\nimages/a.jpg,cat\n"
    found = planned(tmp_path, "set/labels.csv", text, "set/images/a.jpg", "__MACOSX/x.csv")
    assert said(found) == {"set/images/a.jpg": ("cat", None)}


def test_folders_of_classes_may_have_another_csv_beside_them(tmp_path: Path) -> None:
    found = planned(tmp_path, "weather.csv", "day,rain\n1,2\n", "cat/a.jpg", "dog/b.jpg")
    assert said(found) == {"cat/a.jpg": ("cat", None), "dog/b.jpg": ("dog", None)}


def test_several_label_files_are_refused_unless_one_has_the_name_of_an_export(
    tmp_path: Path,
) -> None:
    rows = "image,label\na.jpg,cat\n"
    both = {"x.csv": rows, "y.csv": rows, "a.jpg": "x"}
    several = r"several label files, 'x\.csv', 'y\.csv'"
    with opened(tmp_path, packed(both)) as archive, pytest.raises(InvalidArchive, match=several):
        make_plan(archive, {})
    with opened(tmp_path, packed({**both, "labels.csv": rows})) as archive:
        found = {item.file.path: item for item in make_plan(archive, {}).items}
    assert said(found) == {"a.jpg": ("cat", None)}
