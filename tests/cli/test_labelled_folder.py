from __future__ import annotations

from pathlib import Path

import pytest

from cli.labelled_folder import Verdict, decide, scan
from core.errors import InvalidLabel, InvalidRequest


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_first_folder_is_the_class_at_any_depth(tmp_path: Path) -> None:
    _touch(tmp_path, "cat/1.jpg", "cat/2024/may/2.jpg", "big dog/3.jpg")
    files = [(f.path.name, f.label) for f in scan(tmp_path).files]
    assert files == [("3.jpg", "big dog"), ("1.jpg", "cat"), ("2.jpg", "cat")]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    _touch(tmp_path, "cat/1.jpg", "cat/.DS_Store", "cat/.thumbs/1.jpg", ".git/x/y", ".DS_Store")
    folder = scan(tmp_path)
    assert [f.path.name for f in folder.files] == ["1.jpg"]
    assert folder.strays == []


def test_files_outside_the_class_folders_are_listed(tmp_path: Path) -> None:
    _touch(tmp_path, "cat/1.jpg", "stray.jpg")
    assert scan(tmp_path).strays == [tmp_path / "stray.jpg"]


def test_linked_folder_is_listed_and_not_followed(tmp_path: Path) -> None:
    _touch(tmp_path, "cat/1.jpg")
    (tmp_path / "cat" / "again").symlink_to(tmp_path)
    assert [f.path.name for f in scan(tmp_path).files] == ["1.jpg", "again"]


def test_error_about_a_folder_without_classes_shows_the_layout(tmp_path: Path) -> None:
    _touch(tmp_path, "1.jpg")
    with pytest.raises(InvalidRequest, match=r"one folder per class, as in .*cat/photo\.jpg"):
        scan(tmp_path)
    with pytest.raises(InvalidRequest, match="does not exist"):
        scan(tmp_path / "nowhere")


def test_folder_name_that_is_no_label_is_reported(tmp_path: Path) -> None:
    _touch(tmp_path, f"{'x' * 101}/1.jpg")
    with pytest.raises(InvalidLabel, match=r"xxx.* names no class.*limit is 100"):
        scan(tmp_path)


@pytest.mark.parametrize(
    ("current", "imported", "verdict"),
    [
        (None, None, "added"),
        ("cat", "cat", "already there"),
        ("cat", None, "already there"),  # labelled by a person first
        ("dog", None, "relabelled"),
        ("dog", "dog", "relabelled"),  # it moved to another folder
        ("dog", "cat", "corrected since"),
        (None, "cat", "corrected since"),  # retracted
        (None, "dog", "added"),
    ],
)
def test_decision_follows_the_current_and_the_imported_label(
    current: str | None, imported: str | None, verdict: Verdict
) -> None:
    assert decide("cat", current, imported) == verdict
