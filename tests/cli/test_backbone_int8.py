"""`evergreen backbone int8`: the champion's own backbone, quantised without torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import runs
from core.registry import versions
from core.settings import load_settings
from core.store.store import Store, open_store
from tests.cli.conftest import Run
from tests.cli.photo_folder import write_photos
from training.backbones.backbone_ref import BackboneRef

# Quantises the first backbone: seconds.
pytestmark = pytest.mark.slow

# Whether int8 is faster depends on the machine, so these tests do not require it.
RECIPE = "[gate]\nmax_int8_latency_ratio = 1000.0\n"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    monkeypatch.setenv("EVERGREEN_RECIPE", str(path))
    # A child process does long runs, and must import this checkout.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.mark.usefixtures("recipe")
def test_int8_champion_serves_reports_its_precision_and_is_not_quantised_twice(
    home: Path, tmp_path: Path, run: Run
) -> None:
    folder = write_photos(tmp_path / "album", per_class=20)
    run("import", folder)
    assert run("retrain", "--wait").exit_code == 0
    assert json.loads(run("status", "--json").stdout)["champion"]["precision"] == "float32"
    result = run("backbone", "int8", "--wait")
    assert result.exit_code == 0, result.output
    assert "Quantising efficientnet-lite0 on" in result.stderr
    assert "layers stay in float32, the fewest that suffice" in " ".join(result.stderr.split())
    assert json.loads(run("status", "--json").stdout)["champion"]["precision"] == "int8"
    assert "version 3 in int8 (blue, red)" in run("status").stdout
    shown = " ".join(run("versions", "3").stdout.split())
    assert "Precision int8" in shown
    assert "int8 takes" in shown
    assert "Precision" not in run("versions", "2").stdout
    answers = json.loads(
        run("predict", "--json", folder / "red/0.jpg", folder / "blue/1.jpg").stdout
    )
    assert [(answer["version"], answer["label"]) for answer in answers] == [(3, "red"), (3, "blue")]
    assert run("export", 3, tmp_path / "model.onnx").exit_code == 0
    _check_files(home, tmp_path / "model.onnx")
    again = run("backbone", "int8")
    assert again.exit_code == 2
    assert "version 3, is int8 already" in again.stderr


def _check_files(home: Path, model: Path) -> None:
    store: Store = open_store(load_settings())
    with store.db.read() as conn:
        before, after = (versions.read_manifest(versions.get(conn, n), store) for n in (2, 3))
    assert (before.precision, after.precision) == ("float32", "int8")
    assert after.quantised_from == before.backbone != after.backbone
    sizes = [len(store.blobs.get(manifest.backbone)) for manifest in (before, after)]
    assert sizes[1] < 0.4 * sizes[0]
    assert model.stat().st_size < 0.4 * sizes[0]
    store.db.close()


def test_quantisation_needs_twenty_photos(home: Path, tmp_path: Path, run: Run) -> None:
    run("import", write_photos(tmp_path / "album", per_class=5))
    result = run("backbone", "int8")
    assert result.exit_code == 3
    assert "int8 needs 20 labelled photos" in " ".join(result.stderr.split())


def test_another_backbone_can_be_requested_in_int8(home: Path, tmp_path: Path, run: Run) -> None:
    pytest.importorskip("torch", reason="the training extra is not installed")
    run("import", write_photos(tmp_path / "album", per_class=20))
    result = run("backbone", "use", "starter", "--int8")
    assert result.exit_code == 0, result.output
    store = open_store(load_settings())
    with store.db.read() as conn:
        (run_row,) = runs.unfinished(conn)
    candidate = BackboneRef.from_json(run_row.parameters["wanted"]["backbone"])
    assert candidate.quantised_from is not None
    assert store.blobs.has(candidate.quantised_from)
    assert candidate.digest != candidate.quantised_from
    store.db.close()
