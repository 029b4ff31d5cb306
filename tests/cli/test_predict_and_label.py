from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.photo_folder import cloud


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(cloud("red", 0))
    return path


def test_predict_prints_json_that_a_program_can_read(home: Path, photo: Path, run: Run) -> None:
    (found,) = json.loads(run("predict", "--json", "--top", 3, photo).stdout)
    assert found["version"] == 1
    assert found["top"][0]["label"] == found["label"]
    assert len(found["top"]) == 3
    assert 0 < found["confidence"] <= 1


def test_a_prediction_takes_a_correction_by_its_id(home: Path, photo: Path, run: Run) -> None:
    (found,) = json.loads(run("predict", "--json", photo).stdout)
    result = run("label", found["prediction_id"], "crimson")
    assert result.exit_code == 0
    assert "Labelled 'crimson'. To take it back: evergreen label --undo 1" in result.stdout
    assert _examples(run) == {"crimson": 1}


def test_predict_tells_people_how_to_correct_it(home: Path, photo: Path, run: Run) -> None:
    result = run("predict", photo)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{photo}: ")
    assert "evergreen label 0" in result.stdout


def test_one_bad_file_does_not_stop_the_others(
    home: Path, photo: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photo.parent)
    bad = Path("bad.jpg")
    bad.write_text("not an image")
    result = run("predict", bad, photo.name, "absent.jpg")
    assert result.exit_code == 2
    assert "photo.jpg" in result.stdout
    assert "bad.jpg: " in result.stderr
    assert "absent.jpg does not exist" in result.stderr
    first, second = json.loads(run("predict", "--json", bad, photo).stdout)
    assert first["error"]["code"] == "undecodable-image"
    assert second["prediction_id"]


def test_a_file_is_labelled_and_the_label_taken_back(home: Path, photo: Path, run: Run) -> None:
    run("label", photo, "cat")
    run("label", photo, "dog")
    assert _examples(run) == {"dog": 1}
    assert run("label", "--undo", 2).stdout == "Label 2 is taken back.\n"
    assert run("label", "--undo", 2).stdout == "Label 2 was taken back before.\n"
    assert _examples(run) == {"cat": 1}


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("absent.jpg", "cat"), "neither a file that is there nor the id of a prediction"),
        (("absent.jpg",), "evergreen label photo.jpg cat"),
        (("--undo", "7"), "feedback 7 does not exist"),
        (("--undo", "7", "cat"), "nothing else"),
    ],
)
def test_a_wrong_label_command_says_what_is_wrong(
    words: tuple[str, ...], remedy: str, home: Path, run: Run
) -> None:
    result = run("label", *words)
    assert result.exit_code == 2
    assert remedy in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_over_the_limit_of_a_request_is_refused(
    home: Path, photo: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_MAX_BODY_MB", "0.001")
    result = run("label", photo, "cat")
    assert result.exit_code == 2
    assert "the limit is 1,000" in result.stderr


def _examples(run: Run) -> dict[str, int]:
    found: dict[str, int] = json.loads(run("status", "--json").stdout)["labels"]["examples"]
    return found
