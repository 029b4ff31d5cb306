"""What `lint-imports` cannot say of the packages: sizes and names of files, the tree of errors, and
what importing a module loads, reads and writes."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("core", "service", "training", "cli")
MAX_LINES = 250
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "processor", "misc"}


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def files_of(*folders: str) -> dict[str, str]:
    """The text of each Python file below these folders, by its path."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {place(path): path.read_text(encoding="utf-8") for path in paths}


FILES = files_of(*PACKAGES)
ALL_FILES = FILES | files_of("tests", "bench", "deploy")
# These import torch, or a module that does.
NEEDS_TORCH = (
    "training/backbones/",
    "training/blocks/",
    "training/distil/",
    "training/pipeline/tune_blocks.py",
)


def imported_names(source: str) -> Iterator[str]:
    """The full names of all that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


# A kind by its name, its constant or the class of its spec.
_ASKS_FOR_A_KIND = re.compile(
    r"""[!=]= ?"(image|text)"|"(image|text)" ?[!=]=|\bin \("(image|text)"|kind\.name ?[!=]="""
    r"""|[!=]= ?[\w.]*kind\.name|isinstance\([^)]*(PixelSpec|TokenSpec|TextKind|Pixels)\b"""
    r"""|\bis (not )?(PIXELS|TOKENS)\b"""
)
# Where each kind has a room of its own, and who picks the room.
_ROOMS_OF_KINDS = ("core/inputs/", "training/backbones/", "training/blocks/")


def test_nobody_asks_which_kind_of_input_it_is() -> None:
    """Code calls the kind of the home. What differs is a method or a field of it."""
    asking = {
        path: [match[0] for match in _ASKS_FOR_A_KIND.finditer(source)]
        for path, source in FILES.items()
        if not path.startswith(_ROOMS_OF_KINDS) and _ASKS_FOR_A_KIND.search(source)
    }
    assert asking == {}


def test_sqlalchemy_is_a_connection_or_a_url_outside_core() -> None:
    """An import contract protects a whole library, not the names in it."""
    allowed = {"sqlalchemy.Connection", "sqlalchemy.make_url"}
    found = {
        path: {name for name in imported_names(source) if name.startswith("sqlalchemy")} - allowed
        for path, source in FILES.items()
        if not path.startswith("core/")
    }
    assert {path for path, names in found.items() if names} == set()


def test_files_are_of_a_readable_size() -> None:
    lengths = {path: len(source.splitlines()) for path, source in ALL_FILES.items()}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_file_names_say_what_is_inside() -> None:
    words = {path: set(re.split("[/_]", path.removesuffix(".py"))) for path in ALL_FILES}
    assert {path: said & BANNED_NAMES for path, said in words.items() if said & BANNED_NAMES} == {}


def test_files_say_what_they_own() -> None:
    trees = {path: ast.parse(source) for path, source in FILES.items()}
    assert [path for path, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


def test_times_are_by_the_databases_clock() -> None:
    """`Database.clock`. Clocks of machines differ, and are set."""
    allowed = {
        "core/system/files.py": "the ages of files",
        "service/inference/spool.py": "the ages of files",
        "service/traffic/load_table.py": "the ages of files",
        "core/retention/caches.py": "the ages of files",
        "core/doctor/home_check.py": "the ages of files",
        "core/exchange/importing/upload_files.py": "the ages of files",
        "core/store/free_disk.py": "since when the disk is low, by this process alone",
        "service/inference/recorder.py": "since when the store is unwell, by this process alone",
        "service/swap/follower.py": "since when polls fail, by this process alone",
        "service/api/access/quotas.py": "the windows of quotas, by this process alone",
        "cli/console.py": "to print how long ago it was",
        "cli/key.py": "to print whether a key has expired",
    }
    reading = {path for path, source in FILES.items() if "time.time()" in source}
    assert reading - allowed.keys() == set()


def test_errors_are_all_in_the_drawn_tree() -> None:
    from core import errors

    values = vars(errors).values()
    classes = [c for c in values if isinstance(c, type) and issubclass(c, Exception)]
    drawn = str(errors.__doc__)
    assert [c.__name__ for c in classes if c.__name__ not in drawn] == []
    codes = [c.code for c in classes]
    assert len(set(codes)) == len(codes)


# Imports the modules that it is given, and prints which libraries are loaded then, and which
# variables of the environment our own modules read.
_IMPORT = """
import json, os, sys

variables = []
get = os._Environ.__getitem__

def noted(self, key):
    frame = sys._getframe(1)
    while frame and frame.f_code.co_filename.endswith(("os.py", "_collections_abc.py")):
        frame = frame.f_back
    name = frame.f_globals.get("__name__", "")
    if name.split(".")[0] in ("core", "service", "training", "cli"):
        variables.append(f"{name} reads {key}")
    return get(self, key)

os._Environ.__getitem__ = noted
for name in sys.argv[1:]:
    __import__(name)
libraries = {name.split(".")[0] for name in sys.modules}
print(json.dumps({"variables": variables, "libraries": sorted(libraries)}))
"""


def after_importing(folder: Path, *modules: str) -> dict[str, set[str]]:
    """The libraries that a new process has loaded, and the variables that our modules read."""
    environ = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "VIRTUAL_ENV")}
    # Libraries may write caches to the user's home folder. Our modules may write nothing.
    home = home_beside(folder)
    home.mkdir()
    environ |= {"HOME": str(home), "EVERGREEN_HOME": str(folder / "data")}
    result = subprocess.run(
        [sys.executable, "-B", "-c", _IMPORT, *modules],
        cwd=folder,
        env=environ | {"PYTHONPATH": str(ROOT), "BENTOML_HOME": str(home / "bentoml")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout.splitlines()[-1])
    return {name: set(values) for name, values in printed.items()}


def home_beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-home")


def modules_of(*packages: str) -> list[str]:
    """Those that need no torch. Alembic alone loads the migrations."""
    return [
        path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in FILES
        if path.split("/")[0] in packages
        and not path.startswith(("core/store/migrations", *NEEDS_TORCH))
    ]


@pytest.mark.slow
def test_importing_the_whole_service_loads_no_torch(tmp_path: Path) -> None:
    libraries = after_importing(tmp_path, *modules_of("core", "service"))["libraries"]
    assert "bentoml" in libraries
    assert not {"torch", "torchvision", "training", "cli", "alembic"} & libraries
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_importing_the_trainer_loads_neither_torch_nor_bentoml(tmp_path: Path) -> None:
    imported = after_importing(tmp_path, "training.worker.trainer", "training.__main__")
    unwanted = {"torch", "torchvision", "bentoml", "fastapi", "service", "cli"}
    assert not unwanted & imported["libraries"]


@pytest.mark.slow
def test_importing_reads_no_environment_and_writes_no_files(tmp_path: Path) -> None:
    """All but service.bento, which is an entry point: BentoML imports it to start."""
    names = [name for name in modules_of(*PACKAGES) if name != "service.bento"]
    imported = after_importing(tmp_path, *names)
    # It sets what onnxruntime reads when it is imported.
    assert imported["variables"] <= {"core.models.onnx_sessions reads ORT_DISABLE_TELEMETRY"}
    assert list(tmp_path.iterdir()) == []


def test_onnxruntime_writes_no_record_of_its_use(tmp_path: Path) -> None:
    after_importing(tmp_path, "core.models.servable")
    assert list(home_beside(tmp_path).iterdir()) == []


def test_each_advisory_lock_has_a_number_of_its_own() -> None:
    """Two locks of one number would wait for each other, in any order."""
    numbers = re.findall(r"(?m)^_\w+ = (7_140_\d+)$", "\n".join(FILES.values()))
    assert len(numbers) > 5
    assert len(numbers) == len(set(numbers))
