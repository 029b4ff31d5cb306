"""The commands in a home of texts."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.settings import Settings
from tests.cli.conftest import Run
from tests.cli.photo_folder import row_of
from tests.support import tiny_text

pytestmark = pytest.mark.slow  # not in make check

ROWS = tiny_text.texts(12)


@pytest.fixture
def texts(no_home: Path) -> Path:
    tiny_text.open_home(Settings(home=no_home)).db.close()
    return no_home


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.csv"
    path.write_text("".join(f"{text},{label}\n" for text, label in [("body", "topic"), *ROWS]))
    return path


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_table_is_imported_and_exported_and_imported_again(
    texts: Path, table: Path, tmp_path: Path, run: Run
) -> None:
    refused = run("import", table)
    assert refused.exit_code == 2
    assert "'body', 'topic'" in refused.stderr
    words = ("import", table, "--text", "body", "--label", "topic")
    planned = run(*words, "--dry-run")
    assert row_of("bug", planned.stdout) == ["bug", "4", "-", "-", "-"]
    assert run("status", "--json").stdout.find('"bug": 4') < 0
    done = run(*words)
    assert row_of("bug", done.stdout) == ["bug", "4", "-", "-", "-"]
    assert run(*words).stdout.rstrip().endswith("Nothing is new.")
    exported = run("export-labels", tmp_path, "--format", "csv")
    assert "12 texts" in exported.stdout
    again = run("import", exported.stdout.split("  ")[0])
    for words in (("a.csv",), ("a.jsonl",), ("a.json", "--no-images"), ("a.zip",)):
        file = tmp_path / words[0]
        run("export-labels", file, *words[1:])
        counts = json.loads(run("import", file, "--dry-run", "--json").stdout)["counts"]
        assert counts["already"] == 12
    assert (tmp_path / "a.csv").read_text().startswith("text,label,")
    refused = run("export-labels", tmp_path / "b.zip", "--format", "csv")
    assert "b.csv with --format csv" in refused.stderr
    assert row_of("bug", again.stdout) == ["bug", "-", "4", "-", "-"]


def test_texts_are_predicted_from_files_lines_and_words(
    texts: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"crash error\r\n\nthanks again\nbad \xff\n")
    one = run("predict", "--text", "crash " * 60)
    assert one.exit_code == 0
    assert "only its beginning was read" in one.stdout
    many = json.loads(run("predict", "--lines", file, "--text", "money", "--json").stdout)
    assert [each["file"] for each in many] == ["text 1", f"{file}:1", f"{file}:3", f"{file}:4"]
    assert [each.get("truncated") for each in many] == [False, False, False, None]
    assert many[-1]["error"]["code"] == "undecodable-text"
    shown = run("predict", file, "--text", "crash on start")
    assert shown.exit_code == 2  # the file has a byte that is no text
    assert "crash on start" in shown.stdout
    piped(monkeypatch, b"an invoice")
    (result,) = json.loads(run("predict", "-", "--json").stdout)
    assert result["file"] == "-"
    assert run("predict").exit_code == 2


def test_texts_are_labelled_by_word_file_and_prediction(
    texts: Path, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "a.txt").write_text("it crashed")
    assert "Labelled 'bug'" in run("label", "--text", "it is slow", "bug").stdout
    assert "Labelled 'bug'" in run("label", tmp_path / "a.txt", "bug").stdout
    (predicted,) = json.loads(run("predict", "--text", "so nice", "--json").stdout)
    assert "Labelled 'praise'" in run("label", predicted["prediction_id"], "praise").stdout
    for words in (("--text", "", "bug"), ("--text", "a", "b", "c"), ("x" * 5_000, "bug"), ("a",)):
        assert run("label", *words).exit_code == 2
    listed = json.loads(run("queue", "--json").stdout)
    run("predict", "--text", "the charge is wrong")
    assert "the charge is wrong" in run("queue").stdout
    assert listed["items"] == []
    status = json.loads(run("status", "--json").stdout)
    assert (status["input"], status["labels"]["examples"]) == ("text", {"bug": 2, "praise": 1})


def test_options_for_texts_are_refused_in_a_home_of_images(
    home: Path, table: Path, run: Run
) -> None:
    for words in (("predict", "--text", "a"), ("label", "--text", "a", "b"), ("import", table)):
        result = run(*words)
        assert result.exit_code == 2
        assert "this home classifies images" in result.stderr
    assert "--lines is for texts" in run("predict", "--lines", table).stderr
    assert "this home classifies images, and" in run("init", "--input", "text").stderr


def test_words_of_other_commands_are_those_of_texts(texts: Path, run: Run) -> None:
    run("label", "--text", "it crashed", "bug")
    assert "No text is known to be lost" in run("lost-images").stdout
    assert "Texts" in run("classes").stdout
    assert "Texts" in run("versions").stdout
    assert "2 texts each" in " ".join(run("status").stdout.split())
    assert "Erased text" in run("erase", "example", "1").stdout
    assert run("doctor").exit_code == 0


def test_home_of_texts_says_what_to_install(
    no_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    refused = run("init", "--input", "text")
    assert "pip install 'evergreen-classifier[text]'" in refused.stderr
    assert not no_home.exists()
    tiny_text.open_home(Settings(home=no_home)).db.close()
    # Otherwise its workers would end and start again for ever.
    assert "pip install 'evergreen-classifier[text]'" in run("serve").stderr
    checked = run("doctor")
    assert checked.exit_code != 0
    assert "problem   packages: texts need the package tokenizers" in checked.stdout


def test_classes_that_cannot_be_read_leave_no_home_behind(no_home: Path, run: Run) -> None:
    refused = run("init", "--input", "text", "--classes", "\u0301,bug")
    assert refused.exit_code == 2
    assert "cannot be read: the text has nothing" in refused.stderr
    assert not no_home.exists()


def test_backbone_of_images_is_not_distilled_from_texts(texts: Path, run: Run) -> None:
    pytest.importorskip("torch", reason="the training extra is not installed")
    refused = run("distil", "--teacher", "starter")
    assert refused.exit_code == 2
    assert "this home holds texts: name folders of images by --images" in refused.stderr
