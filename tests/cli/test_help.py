from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from cli.commands import COMMANDS, Command, load
from tests.cli.conftest import Run

ALL = (
    *("init", "serve", "worker", "import", "predict", "label", "retrain", "status"),
    *("backup", "restore", "migrate"),
    *("backbone", "distil", "versions", "promote", "rollback", "export", "replay"),
    *("lost-images", "doctor"),
    "classes",
    "queue",
    "learning-curve",
    "gc",
    "export-labels",
    "erase",
    "audit",
    "key",
)


def test_help_lists_every_command_and_the_exit_codes(run: Run) -> None:
    printed = run("--help").stdout
    listed = {line.split()[1] for line in printed.splitlines() if line.startswith("│ ")}
    assert listed >= set(ALL)
    assert {command.name for command in COMMANDS} == set(ALL)
    assert "Exit codes" in " ".join(printed.split())
    assert "EVERGREEN_HOME" in printed


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_of_a_command_starts_with_its_line_in_the_list(command: Command, run: Run) -> None:
    assert inspect.cleandoc(load(command).help).splitlines()[0] == command.help
    result = run(command.name, "--help")
    assert result.exit_code == 0
    assert command.help in " ".join(result.stdout.split())


def test_unknown_command_is_an_input_error(run: Run) -> None:
    result = run("retrian")
    assert result.exit_code == 2
    assert "retrain" in result.stderr


def test_version_option_prints_the_release(run: Run) -> None:
    assert run("--version").stdout.startswith("evergreen 0.")


def test_help_imports_no_heavy_package() -> None:
    program = (
        "import sys; from typer.testing import CliRunner; from cli.__main__ import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([m for m in ('sqlalchemy', 'numpy', 'onnxruntime', 'PIL') if m in sys.modules])"
    )
    assert _python(program) == "[]"


@pytest.mark.slow
def test_only_serve_and_worker_import_torch_or_bentoml(
    home: object, tmp_path: object, run: Run
) -> None:
    program = """
import sys
from pathlib import Path
from typer.testing import CliRunner
from cli.__main__ import app
from tests.cli.photo_folder import write_photos

folder = write_photos(Path(sys.argv[1]) / "album", per_class=6)
image = str(folder / "red" / "0.jpg")
for words in (
    ["init"], ["import", str(folder)], ["status"], ["versions"], ["versions", "1"],
    ["predict", image], ["label", image, "red"], ["label", "--undo", "1"], ["retrain"],
    ["promote", "1"], ["rollback"], ["export", "1", str(folder / "model.onnx")],
):
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, (SystemExit, type(None))), (words, result.exception)
assert not sys.modules.keys() & {"torch", "bentoml", "training", "service"}
assert CliRunner().invoke(app, ["retrain", "--wait"]).exit_code == 0
print(sorted(sys.modules.keys() & {"torch", "bentoml", "service"}))
"""
    assert _python(program, str(tmp_path)) == "[]"


def _python(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
