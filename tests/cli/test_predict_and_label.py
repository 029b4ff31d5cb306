from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.photo_folder import cloud

pytestmark = pytest.mark.slow  # not in `make check`


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(cloud("red", 0))
    return path


def test_predict_prints_json(home: Path, photo: Path, run: Run) -> None:
    (result,) = json.loads(run("predict", "--json", "--top", 3, photo).stdout)
    assert result["version"] == 1
    assert result["top"][0]["label"] == result["label"]
    assert len(result["top"]) == 3
    assert 0 < result["confidence"] <= 1


def test_prediction_is_labelled_by_its_id(home: Path, photo: Path, run: Run) -> None:
    (prediction,) = json.loads(run("predict", "--json", photo).stdout)
    result = run("label", prediction["prediction_id"], "crimson")
    assert result.exit_code == 0
    assert "Labelled 'crimson'. To retract it: evergreen label --undo 1" in result.stdout
    assert _examples(run) == {"crimson": 1}


def test_predict_prints_how_to_correct_it(home: Path, photo: Path, run: Run) -> None:
    result = run("predict", photo)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{photo}: ")
    assert "evergreen label 0" in result.stdout


def test_bad_file_does_not_stop_the_others(
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


def test_label_of_a_file_can_be_retracted(home: Path, photo: Path, run: Run) -> None:
    run("label", photo, "cat")
    run("label", photo, "dog")
    assert _examples(run) == {"dog": 1}
    assert run("label", "--undo", 2).stdout == "Label 2 is retracted.\n"
    assert run("label", "--undo", 2).stdout == "Label 2 was retracted before.\n"
    assert _examples(run) == {"cat": 1}


def test_label_says_which_spelling_is_stored(home: Path, photo: Path, run: Run) -> None:
    assert run("label", photo, "disc").stdout.startswith("Labelled 'disc'. ")
    assert run("label", photo, "Disc").stdout.startswith("Labelled 'disc', as this class was ")
    assert _examples(run) == {"disc": 1}


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("absent.jpg", "cat"), "neither an existing file nor the id of a prediction"),
        (("absent.jpg",), "evergreen label photo.jpg cat"),
        (("--undo", "7"), "feedback 7 does not exist"),
        (("--undo", "7", "cat"), "nothing else"),
    ],
)
def test_wrong_label_command_names_the_remedy(
    words: tuple[str, ...], remedy: str, home: Path, run: Run
) -> None:
    result = run("label", *words)
    assert result.exit_code == 2
    assert remedy in result.stderr
    assert result.stderr.count("\n") == 1


def test_file_over_the_size_limit_is_rejected(
    home: Path, photo: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_MAX_BODY_MB", "0.001")
    result = run("label", photo, "cat")
    assert result.exit_code == 2
    assert "the limit is 1,000" in result.stderr


def _examples(run: Run) -> dict[str, int]:
    examples: dict[str, int] = json.loads(run("status", "--json").stdout)["labels"]["examples"]
    return examples
