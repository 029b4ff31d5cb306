from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cli import import_folder
from core.exchange.importing.labeller import Labeller
from tests.cli.conftest import Run
from tests.cli.photo_folder import cloud, row_of, write_photos
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`


def test_import_counts_the_files_that_are_no_images(home: Path, tmp_path: Path, run: Run) -> None:
    folder = write_photos(tmp_path / "album", per_class=3)
    (folder / "red" / "broken.jpg").write_bytes(images.truncated(cloud("red", 9)))
    (folder / "red" / "notes.txt").write_text("not an image")
    (folder / "red" / "empty.jpg").touch()
    (folder / "blue" / "huge.png").write_bytes(images.twenty_thousand_square())
    result = run("import", folder)
    assert result.exit_code == 0
    assert row_of("blue", result.stdout) == ["blue", "3", "-", "-", "1"]
    assert row_of("red", result.stdout) == ["red", "3", "-", "-", "2"]
    assert "Skipped, not a readable image: red/broken.jpg" in result.stdout
    assert "Ignored, a text or a document: red/notes.txt" in result.stdout
    assert "Skipped, empty" in result.stdout
    assert "Skipped, too large" in result.stdout


def test_second_import_adds_only_new_images(home: Path, tmp_path: Path, run: Run) -> None:
    folder = write_photos(tmp_path / "album", per_class=3)
    run("import", folder)
    assert run("import", folder).stdout.rstrip().endswith("Nothing is new.")
    (folder / "red" / "more").mkdir()
    (folder / "red" / "more" / "new.jpg").write_bytes(cloud("red", 50))
    result = run("import", folder)
    assert row_of("red", result.stdout) == ["red", "1", "3", "-", "-"]
    assert _num_labels(run) == 7


def test_moved_image_is_relabelled(home: Path, tmp_path: Path, run: Run) -> None:
    folder = write_photos(tmp_path / "album", per_class=3)
    run("import", folder)
    (folder / "red" / "0.jpg").rename(folder / "blue" / "was-red.jpg")
    assert row_of("blue", run("import", folder).stdout) == ["blue", "-", "3", "1", "-"]
    assert row_of("blue", run("import", folder).stdout) == ["blue", "-", "4", "-", "-"]


def test_correction_is_kept_by_the_next_import(home: Path, tmp_path: Path, run: Run) -> None:
    folder = write_photos(tmp_path / "album", per_class=3)
    run("import", folder)
    run("label", folder / "red" / "0.jpg", "pink")
    result = run("import", folder)
    assert "1 image corrected after an import: left unchanged." in result.stdout
    assert json.loads(run("status", "--json").stdout)["labels"]["examples"]["pink"] == 1


def test_folders_of_one_class_are_joined_and_named(home: Path, tmp_path: Path, run: Run) -> None:
    folder = write_photos(tmp_path / "album", per_class=3)
    (folder / "Red").mkdir()
    (folder / "Red" / "new.jpg").write_bytes(cloud("red", 50))
    run("label", folder / "blue" / "0.jpg", "BLUE")
    result = run("import", folder)
    assert "One class, 'BLUE': 1 spelling 'blue'" in result.stdout
    assert "One class, 'Red': 2 spellings 'Red', 'red'" in result.stdout
    assert row_of("BLUE", result.stdout) == ["BLUE", "2", "1", "-", "-"]
    assert row_of("Red", result.stdout) == ["Red", "4", "-", "-", "-"]
    assert run("import", folder).stdout.rstrip().endswith("Nothing is new.")


def test_copy_in_another_class_is_skipped(home: Path, tmp_path: Path, run: Run) -> None:
    folder = write_photos(tmp_path / "album", per_class=2)
    for name in ("blue/copy.jpg", "red/copy.jpg"):
        (folder / name).write_bytes(cloud("blue", 0))
    for _ in range(2):
        result = run("import", folder)
        assert "Skipped, also in another class: " in result.stdout
        assert row_of("red", result.stdout)[3:] == ["-", "1"]
    assert _num_labels(run) == 4


def test_dry_run_changes_nothing(no_home: Path, tmp_path: Path, run: Run) -> None:
    folder = write_photos(tmp_path / "album", per_class=2)
    result = run("import", "--dry-run", folder)
    assert row_of("red", result.stdout) == ["red", "2", "-", "-", "-"]
    assert not no_home.exists()


def test_interrupted_import_keeps_its_batches_and_can_be_continued(
    home: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_photos(tmp_path / "album", per_class=4)
    monkeypatch.setattr(import_folder, "_BATCH", 3)
    label = Labeller.label
    calls: list[Any] = []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return label(*arguments)

    monkeypatch.setattr(Labeller, "label", interrupted)
    result = run("import", folder)
    assert result.exit_code == 130
    assert "The same command continues" in " ".join(result.stderr.split())
    assert row_of("blue", result.stdout)[1] == "3"
    result = run("import", folder)
    assert row_of("blue", result.stdout) == ["blue", "1", "3", "-", "-"]
    assert _num_labels(run) == 8


def test_import_fails_if_every_file_is_skipped(home: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "album" / "red").mkdir(parents=True)
    (tmp_path / "album" / "red" / "notes.jpg").write_text("not an image")
    assert run("import", tmp_path / "album").exit_code == 1
    (tmp_path / "album" / "red" / "notes.jpg").rename(tmp_path / "album" / "red" / "notes.txt")
    assert run("import", tmp_path / "album").exit_code == 2


def test_markup_in_a_name_is_printed_literally(home: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "album" / "[red]:cat:"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(cloud("red", 0))
    assert row_of("[red]:cat:", run("import", folder.parent).stdout)[1] == "1"
    assert "[red]:cat:" in run("status").stdout


def test_split_folders_are_sides_and_mixed_ones_are_refused(
    home: Path, tmp_path: Path, run: Run
) -> None:
    write_photos(tmp_path / "album" / "train", per_class=3)
    (tmp_path / "album" / "test" / "red").mkdir(parents=True)
    (tmp_path / "album" / "test" / "red" / "9.jpg").write_bytes(cloud("red", 9))
    done = json.loads(run("import", tmp_path / "album", "--json").stdout)
    assert done["classes"] == {"blue": {"added": 3}, "red": {"added": 4}}
    assert json.loads(run("status", "--json").stdout)["labels"]["held_out"] == {"red": 1}
    (tmp_path / "album" / "cat").mkdir()
    (tmp_path / "album" / "cat" / "1.jpg").write_bytes(cloud("red", 20))
    refused = run("import", tmp_path / "album")
    assert refused.exit_code == 2
    assert "'test', 'train'" in refused.stderr
    insisted = json.loads(run("import", tmp_path / "album", "--layout", "classes", "--json").stdout)
    assert set(insisted["classes"]) == {"cat", "test", "train"}


def test_archive_of_an_export_brings_everything_into_an_empty_home(
    home: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("import", write_photos(tmp_path / "album", per_class=8))
    for format in ("folder", "jsonl", "label-studio"):
        before = run("export-labels", tmp_path / "all.zip", "--format", format)
        assert "16 images" in before.stdout
        monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / f"home-{format}"))
        done = json.loads(run("import", tmp_path / "all.zip", "--json").stdout)
        assert done["counts"]["added"] == 16
        monkeypatch.setenv("EVERGREEN_HOME", str(home))


def test_ending_of_an_export_says_its_format(home: Path, tmp_path: Path, run: Run) -> None:
    run("import", write_photos(tmp_path / "album", per_class=2))
    for name in ("a.csv", "a.jsonl", "a.json"):
        rows = run("export-labels", tmp_path / name, "--no-images")
        assert "4 images" in rows.stdout
        assert run("export-labels", tmp_path / name, "--format", "folder").exit_code == 2
    assert (tmp_path / "a.csv").read_text().startswith("image,label,")
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])["label"] == "blue"
    assert len(json.loads((tmp_path / "a.json").read_text())) == 4
    refused = run("export-labels", tmp_path / "b.json")
    assert "b.zip with --format label-studio, or only the file of labels" in refused.stderr
    assert not (tmp_path / "b.json").exists()
    assert run("export-labels", tmp_path / "b.zip", "--no-images").exit_code == 2
    assert run("export-labels", tmp_path / "any").exit_code == 0
    assert zipfile.is_zipfile(tmp_path / "any")


def _num_labels(run: Run) -> int:
    waiting: int = json.loads(run("status", "--json").stdout)["labels"]["waiting"]
    return waiting
