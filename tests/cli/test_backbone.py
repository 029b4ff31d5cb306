"""`evergreen backbone list`, `evergreen backbone use`, and the backbone of version 1."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import pytest

from core import runs
from core.models.pretrained import choice as pretrained
from core.models.pretrained import lite0, starter
from core.registry import versions
from core.settings import Settings, load_settings
from core.store.blobs import sha256
from core.store.store import open_store
from tests.cli.conftest import Run
from tests.cli.photo_folder import write_photos
from tests.support import tiny_text
from training.backbones.backbone_ref import BackboneRef
from training.backbones.costs import MEASURED
from training.backbones.names import parse

pytestmark = pytest.mark.slow  # not in `make check`


def first_backbone() -> str:
    store = open_store(load_settings())
    with store.db.read() as conn:
        manifest = versions.read_manifest(versions.get(conn, 1), store)
    store.db.close()
    return manifest.backbone_name


def requested_backbone() -> BackboneRef:
    store = open_store(load_settings())
    with store.db.read() as conn:
        (requested,) = runs.unfinished(conn)
    store.db.close()
    return BackboneRef.from_json(requested.parameters["wanted"]["backbone"])


def test_list_says_what_the_pretrained_backbones_cost_and_gain(run: Run) -> None:
    lines = run("backbone", "list").stdout.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert len(rows) > 60
    for name in pretrained.NAMES:
        assert re.fullmatch(r"\d+ \d+\.\d \d+ % \d+ %", " ".join(rows[name]))
    assert float(rows[lite0.NAME][1]) > float(rows[starter.NAME][1]) == 1


def test_list_is_of_the_inputs_of_the_home(
    no_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_text.open_home(Settings(home=no_home)).db.close()
    of_home = run("backbone", "list")
    monkeypatch.setenv("EVERGREEN_HOME", f"{no_home}-new")
    monkeypatch.setenv("EVERGREEN_INPUT", "text")
    for listed in (of_home, run("backbone", "list")):
        assert listed.stdout.split() == ["backbone", *pretrained.TEXT_NAMES]
        assert "hf/NAME" in listed.stderr
        assert "photo" not in listed.stderr


def test_costs_are_of_backbones_that_exist() -> None:
    assert {*pretrained.NAMES} < MEASURED.keys()
    assert all(parse(name).library for name in MEASURED)


def test_costs_are_those_of_the_documentation() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "backbones.md"
    rows = re.findall(r"^\| `(\S+)` \|(?:[^|]+\|){3} ([\d.]+) \|", page.read_text(), re.MULTILINE)
    documented = {name: float(mb) for name, mb in rows if name in MEASURED}
    assert documented == {name: cost.file_mb for name, cost in MEASURED.items()}


def test_new_home_has_the_default_backbone(no_home: Path, run: Run) -> None:
    assert run("init").exit_code == 0
    assert first_backbone() == lite0.NAME


def test_new_home_can_begin_with_the_starter(no_home: Path, run: Run) -> None:
    result = run("init", "--backbone", "starter")
    assert "version 1, 200 classes" in result.stdout
    assert first_backbone() == starter.NAME
    assert run("init").exit_code == 0
    assert first_backbone() == starter.NAME


def test_home_does_not_begin_with_a_backbone_that_is_not_bundled(no_home: Path, run: Run) -> None:
    result = run("init", "--backbone", "torchvision/resnet18")
    assert result.exit_code == 2
    assert "name efficientnet-lite0 or starter" in " ".join(result.stderr.split())
    assert not no_home.exists()


def test_backbone_of_an_older_version_keeps_its_pixels(
    no_home: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = replace(starter.pixel_spec(), rules=1)
    with monkeypatch.context() as older_release:
        older_release.setattr(starter, "pixel_spec", lambda: older)
        run("init", "--backbone", "starter")
    run("import", write_photos(tmp_path / "album", per_class=10))
    assert run("backbone", "use", "starter").exit_code == 0
    assert requested_backbone().input_spec == older != starter.pixel_spec()


def test_bundled_backbone_needs_no_torch(
    home: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("import", write_photos(tmp_path / "album", per_class=10))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run("backbone", "use", "torchvision/resnet18").exit_code == 3
    result = run("backbone", "use", "starter")
    assert result.exit_code == 0, result.output
    candidate = requested_backbone()
    assert (candidate.name, candidate.embedding_size) == ("starter", 960)
    assert candidate.digest == sha256(starter.backbone_onnx())
    assert candidate.input_spec == starter.pixel_spec()
