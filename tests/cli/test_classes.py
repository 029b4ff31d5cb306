"""`evergreen classes`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support import images


@pytest.fixture
def labelled(home: Path, run: Run, tmp_path: Path) -> Run:
    """Two cats, a dog, and a photo that is none of these."""
    for seed, name in enumerate(("cat", "cat", "dog", "None of these")):
        photo = tmp_path / f"{seed}.png"
        photo.write_bytes(images.png(40, 40, seed=seed))
        assert run("label", photo, name).exit_code == 0
    return run


def sizes(run: Run) -> dict[str, int]:
    found = json.loads(run("classes", "--json").stdout)
    return {each["name"]: each["examples"] for each in found["classes"]}


def test_classes_are_listed(labelled: Run) -> None:
    printed = labelled("classes").stdout
    first_words = [line.split()[0] for line in printed.splitlines() if line.strip()]
    assert [word for word in first_words if word in ("cat", "dog")] == ["cat", "dog"]
    assert "none of these" in printed
    found = json.loads(labelled("classes", "--json").stdout)
    assert found["none_of_these"] == {"name": "none of these", "examples": 1}
    assert found["can_learn"] is False
    assert "--after 'cat'" in labelled("classes", "--limit", 1).stderr


def test_classes_of_an_empty_home_say_how_to_begin(home: Path, run: Run) -> None:
    assert run("init").exit_code == 0
    assert "evergreen label" in run("classes").stdout


def test_class_is_renamed_merged_deleted_and_given_back(labelled: Run) -> None:
    assert (
        "2 images are labelled 'kitten' now"
        in labelled("classes", "rename", "cat", "kitten").stdout
    )
    assert sizes(labelled) == {"dog": 1, "kitten": 2}
    assert labelled("classes", "merge", "kitten", "dog", "--into", "animal").exit_code == 0
    assert "evergreen classes undo 3" in labelled("classes", "delete", "animal").stdout
    assert sizes(labelled) == {}
    assert "3 labels given back" in labelled("classes", "undo", 3).stdout
    assert sizes(labelled) == {"animal": 3}
    assert "is undone" in labelled("classes", "undo", 3).stdout


def test_change_that_cannot_be_is_an_input_error(labelled: Run) -> None:
    for words in (
        ("rename", "cow", "x"),
        ("delete", "none of these"),
        ("undo", "99"),
        ("delete", "cat", "--who", "trainer"),
        ("undo", "1", "--who", "trainer"),
        ("merge", "cat", "--into", "cat"),
    ):
        assert labelled("classes", *words).exit_code == 2, words
    assert "merge" in labelled("classes", "rename", "cat", "dog").stderr
