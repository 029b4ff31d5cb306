"""Which label and which side the folders of a source say."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InvalidLabel, InvalidRequest
from core.exchange.reading.folder import Folder
from core.exchange.reading.items import Item, Layout
from core.exchange.reading.plan import make_plan
from tests.core.exchange.archives import opened, packed

pytestmark = pytest.mark.slow  # not in make check


def planned(folder: Path, *names: str, layout: Layout = "auto") -> dict[str, Item]:
    with opened(folder, packed(dict.fromkeys(names, b"x"))) as archive:
        return {item.file.path: item for item in make_plan(archive, {}, layout).items}


def labels(folder: Path, *names: str, layout: Layout = "auto") -> dict[str, str]:
    found = planned(folder, *names, layout=layout)
    return {path: item.label for path, item in found.items() if item.kind is None}


def touch(root: Path, *names: str) -> Folder:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return Folder(root)


def on_disk(root: Path, *names: str, layout: Layout = "auto") -> dict[str, Item]:
    plan = make_plan(touch(root, *names), {}, layout)
    return {item.file.path: item for item in plan.items}


def test_first_folder_is_the_class_at_any_depth(tmp_path: Path) -> None:
    found = labels(tmp_path, "cat/1.jpg", "cat/2024/may/2.jpg", "big dog/3.jpg")
    assert found == {"big dog/3.jpg": "big dog", "cat/1.jpg": "cat", "cat/2024/may/2.jpg": "cat"}


def test_single_folders_around_the_classes_of_an_archive_are_looked_through(tmp_path: Path) -> None:
    assert labels(tmp_path, "a/b/cat/1.jpg", "a/b/dog/2.jpg") == {
        "a/b/cat/1.jpg": "cat",
        "a/b/dog/2.jpg": "dog",
    }
    assert labels(tmp_path, "cat/1.jpg", "cat/2.jpg") == {"cat/1.jpg": "cat", "cat/2.jpg": "cat"}


def test_only_folder_on_disk_is_a_class(tmp_path: Path) -> None:
    found = on_disk(tmp_path, "cat/2024/1.jpg", "cat/2025/2.jpg")
    assert {item.label for item in found.values()} == {"cat"}


@pytest.mark.parametrize("around", ["", "split/", "a/b/"])
def test_split_folders_are_sides_and_no_classes(tmp_path: Path, around: str) -> None:
    names = {
        "train/cat/1.jpg": False,
        "Training/dog/2.jpg": False,
        "val/cat/3.jpg": True,
        "valid/cat/4.jpg": True,
        "validation/dog/5.jpg": True,
        "TEST/dog/6.jpg": True,
        "testing/dog/deep/7.jpg": True,
        "held_out/cat/8.jpg": True,
    }
    found = planned(tmp_path, *(around + name for name in names))
    sides = {path.removeprefix(around): item.is_held_out for path, item in found.items()}
    assert sides == names
    assert {item.label for item in found.values()} == {"cat", "dog"}


def test_splits_may_be_below_the_classes(tmp_path: Path) -> None:
    found = planned(tmp_path, "cat/train/1.jpg", "dog/test/2.jpg")
    sides = {item.label: item.is_held_out for item in found.values()}
    assert sides == {"cat": False, "dog": True}


def test_splits_on_disk_are_found_in_a_folder_around_them(tmp_path: Path) -> None:
    found = on_disk(tmp_path, "split/train/cat/1.jpg", "split/test/dog/1.jpg")
    assert {(item.label, item.is_held_out) for item in found.values()} == {
        ("cat", False),
        ("dog", True),
    }


def test_splits_beside_classes_are_refused_by_name(tmp_path: Path) -> None:
    names = ("train/1.jpg", "test/2.jpg", "cat/3.jpg")
    with pytest.raises(InvalidRequest, match=r"'test', 'train' .* beside 'cat'.*layout=classes"):
        planned(tmp_path, *names)
    insisted = labels(tmp_path, *names, layout="classes")
    assert set(insisted.values()) == {"train", "test", "cat"}


def test_insisting_looks_through_one_folder_of_an_archive(tmp_path: Path) -> None:
    found = labels(tmp_path, "a/train/1.jpg", "a/test/2.jpg", layout="classes")
    assert found == {"a/train/1.jpg": "train", "a/test/2.jpg": "test"}


def test_split_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"no images in folders.*labels\.csv"):
        planned(tmp_path, "train/1.jpg", "test/2.jpg")


def test_what_is_no_photo_is_ignored_and_named(tmp_path: Path) -> None:
    junk = {
        "__MACOSX/cat/._1.jpg": "made by macOS",
        "cat/@eaDir/1.jpg": "made by a network drive",
        "cat/.DS_Store": "hidden",
        "cat/.thumbs/1.jpg": "hidden",
        "cat/Thumbs.db": "made by the system",
        "desktop.ini": "made by the system",
        "cat/readme.TXT": "a text or a document",
        "cat/more.zip": "an archive, whose content is not looked at",
        "stray.jpg": "not in a folder of a class",
    }
    found = planned(tmp_path, "cat/1.jpg", *junk)
    assert {path: item.why for path, item in found.items() if item.kind == "ignored"} == junk
    assert found["cat/1.jpg"].label == "cat"


def test_folders_on_disk_that_are_no_place_of_photos_are_one_entry(tmp_path: Path) -> None:
    found = on_disk(tmp_path, "cat/1.jpg", ".git/x/y", "cat/@eaDir/1.jpg", "cat/@eaDir/2.jpg")
    assert {path: item.why for path, item in found.items() if item.kind} == {
        ".git": "the folder is hidden",
        "cat/@eaDir": "the folder is made by a network drive",
    }


def test_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    scandir = os.scandir

    def refuse(path: str) -> object:
        if os.fspath(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = on_disk(tmp_path, "cat/1.jpg", "cat/secret/2.jpg")
    assert found["cat/secret"].why == "the folder cannot be read: Permission denied"
    assert found["cat/1.jpg"].kind is None


def test_linked_folder_is_listed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "again").symlink_to(tmp_path)
    found = on_disk(tmp_path, "cat/1.jpg")
    assert found["cat/again"].why == "a link to a folder"


def test_folder_without_images_or_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="does not exist"):
        Folder(tmp_path / "nowhere")
    with pytest.raises(InvalidLabel, match=r"xxx.* names no class.*limit is 100"):
        on_disk(tmp_path, f"{'x' * 101}/1.jpg")


def test_spellings_of_a_class_are_joined(tmp_path: Path) -> None:
    with opened(tmp_path, packed({"Red/1.jpg": b"x", "red/2.jpg": b"x"})) as archive:
        first = make_plan(archive, {})
        stored = make_plan(archive, {"red": "RED"})
    assert first.joined == {"Red": ["Red", "red"]}
    assert {item.label for item in stored.items} == {"RED"}
    assert stored.joined == {"RED": ["Red", "red"]}
