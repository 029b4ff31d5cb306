"""The house keeps its shape: who imports whom, what an import may do, how large a file may be."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("core", "service", "training", "cli")
MAX_LINES = 350
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "processor", "misc"}

FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
TORCH_PLACES = ("training/backbones/", "training/blocks/", "training/distil/")
# These import torch through the rooms above.
NEEDS_TORCH = (*TORCH_PLACES, "training/pipeline/tune_blocks.py")


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module(path: Path) -> str:
    return place(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(path: Path) -> Iterator[str]:
    """The full names of all that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(path)} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(*packages: str) -> set[str]:
    """The files that import any of these packages."""
    return {
        place(path)
        for path in FILES
        if any(name == p or name.startswith(f"{p}.") for name in imports(path) for p in packages)
    }


def below(*packages: str) -> set[str]:
    return {place(path) for path in FILES if place(path).split("/")[0] in packages}


@pytest.mark.parametrize(
    ("package", "never"),
    [
        ("core", ("service", "training", "cli")),
        ("service", ("training", "cli")),
        ("training", ("service", "cli")),
        ("cli", ("service.bento",)),
    ],
)
def test_arrows_point_at_the_core(package: str, never: tuple[str, ...]) -> None:
    assert importers(*never) & below(package) == set()


def test_no_package_imports_the_tests_or_the_benchmarks() -> None:
    assert importers("tests", "bench", "deploy") == set()


def test_torch_stays_in_its_files() -> None:
    allowed = {p for p in below("training") if p.startswith(TORCH_PLACES)}
    assert importers("torch", "torchvision") <= allowed


def test_bentoml_stays_in_the_service() -> None:
    assert importers("bentoml") == {"service/bento.py"}


def test_one_file_runs_onnxruntime_and_one_quantises_with_it() -> None:
    assert importers("onnxruntime") == {
        "core/models/onnx_sessions.py",
        "training/backbones/quantise.py",
    }


def test_http_stays_in_the_service_and_its_client() -> None:
    web = importers("fastapi", "starlette", "uvicorn", "prometheus_client")
    assert web <= below("service")


def test_sql_stays_in_the_core() -> None:
    """The others ask `core` in words: a URL and a connection are all they hold of a database."""
    counts_rows = {"service/metrics.py"}  # gauges, of no use to anyone but it
    for path in FILES:
        if place(path) in below("core") | counts_rows:
            continue
        names = [n for n in imports(path) if n.split(".")[0] in ("sqlalchemy", "alembic")]
        assert set(names) <= {"sqlalchemy.Connection", "sqlalchemy.make_url"}, place(path)
        assert not any(n.startswith("core.store.schema") for n in imports(path)), place(path)


def test_nothing_is_ever_unpickled() -> None:
    assert importers("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve") == set()


@pytest.mark.parametrize("path", FILES, ids=place)
def test_file_is_of_a_readable_size(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", FILES, ids=place)
def test_file_has_a_name_that_says_something(path: Path) -> None:
    parts = {
        part for name in place(path).removesuffix(".py").split("/") for part in name.split("_")
    }
    assert not parts & BANNED_NAMES


@pytest.mark.parametrize("path", FILES, ids=place)
def test_file_says_what_it_owns(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert not source.strip() or ast.get_docstring(ast.parse(source))


def test_errors_are_all_in_the_drawn_tree() -> None:
    from core import errors

    values = vars(errors).values()
    classes = [c for c in values if isinstance(c, type) and issubclass(c, Exception)]
    drawn = str(errors.__doc__)
    assert [c.__name__ for c in classes if c.__name__ not in drawn] == []
    codes = [c.code for c in classes]
    assert len(set(codes)) == len(codes)


_WATCH = """
import json, os, sys

asked = []
plain = os._Environ.__getitem__

def watched(self, key):
    frame = sys._getframe(1)
    while frame and frame.f_code.co_filename.endswith(("os.py", "_collections_abc.py")):
        frame = frame.f_back
    name = frame.f_globals.get("__name__", "")
    if name.split(".")[0] in ("core", "service", "training", "cli"):
        asked.append(f"{name} asks for {key}")
    return plain(self, key)

os._Environ.__getitem__ = watched
for name in sys.argv[1:]:
    __import__(name)
roots = {name.split(".")[0] for name in sys.modules}
print(json.dumps({"asked": asked, "loaded": sorted(roots)}))
"""


def after_importing(folder: Path, *modules: str) -> dict[str, list[str]]:
    """What a new process has loaded and has asked of the environment after these imports."""
    environ = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "VIRTUAL_ENV")}
    # Libraries may keep caches in the home folder; ours may make nothing anywhere.
    home = folder.with_name(f"{folder.name}-home")
    home.mkdir()
    environ |= {"HOME": str(home), "EVERGREEN_HOME": str(folder / "data")}
    result = subprocess.run(
        [sys.executable, "-B", "-c", _WATCH, *modules],
        cwd=folder,
        env=environ | {"PYTHONPATH": str(ROOT), "BENTOML_HOME": str(home / "bentoml")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, list[str]] = json.loads(result.stdout.splitlines()[-1])
    return found


def modules_of(*packages: str) -> list[str]:
    return [
        module(path)
        for path in FILES
        if place(path).split("/")[0] in packages
        and not place(path).startswith(("core/store/migrations", *NEEDS_TORCH))
    ]


def test_importing_the_whole_service_loads_no_torch(tmp_path: Path) -> None:
    found = after_importing(tmp_path, *modules_of("core", "service"))
    assert "bentoml" in found["loaded"]
    assert not {"torch", "torchvision", "training", "cli", "alembic"} & set(found["loaded"])
    assert not (tmp_path / "data").exists()


def test_importing_the_trainer_loads_neither_torch_nor_bentoml(tmp_path: Path) -> None:
    found = after_importing(tmp_path, "training.worker.trainer", "training.__main__")
    unwanted = {"torch", "torchvision", "bentoml", "fastapi", "service", "cli"}
    assert not unwanted & set(found["loaded"])


def test_importing_reads_no_environment_and_makes_no_files(tmp_path: Path) -> None:
    """All but service.bento, which is an entry point: BentoML imports it to start."""
    names = [name for name in modules_of(*PACKAGES) if name != "service.bento"]
    found = after_importing(tmp_path, *names)
    # It sets what onnxruntime reads when it is imported.
    assert set(found["asked"]) <= {"core.models.onnx_sessions asks for ORT_DISABLE_TELEMETRY"}
    assert list(tmp_path.iterdir()) == []


def test_onnxruntime_keeps_no_record_of_its_use(tmp_path: Path) -> None:
    after_importing(tmp_path, "core.models.servable")
    assert list(tmp_path.with_name(f"{tmp_path.name}-home").iterdir()) == []
