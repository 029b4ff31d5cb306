from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from core.store.blobs import sha256
from tests.cli.conftest import Run

pytestmark = pytest.mark.slow  # not in `make check`


def test_exported_model_runs_in_onnxruntime(home: Path, tmp_path: Path, run: Run) -> None:
    assert run("export", 1, tmp_path / "model.onnx").exit_code == 0
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    pixels = np.zeros((2, 192, 192, 3), np.uint8)
    (probabilities,) = session.run(["probabilities"], {"pixels": pixels})
    assert probabilities.shape == (2, 1000)
    assert session.get_modelmeta().custom_metadata_map["version"] == "1"


def test_export_into_a_folder_names_the_file_by_version(
    home: Path, tmp_path: Path, run: Run
) -> None:
    run("export", 1, tmp_path)
    assert (tmp_path / "evergreen-1.onnx").is_file()


def test_bundle_holds_the_files_that_its_manifest_names(
    home: Path, tmp_path: Path, run: Run
) -> None:
    assert run("export", 1, tmp_path / "bundle", "--bundle").exit_code == 0
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text("utf-8"))
    for name in ("backbone", "head"):
        content = (tmp_path / "bundle" / f"{name}.onnx").read_bytes()
        assert sha256(content) == manifest[name]


def test_damaged_version_is_not_exported(home: Path, tmp_path: Path, run: Run) -> None:
    digest = json.loads(run("versions", 1, "--json").stdout)["head"]
    (home / "blobs" / digest[:2] / digest).write_bytes(b"damaged")
    result = run("export", 1, tmp_path / "model.onnx")
    assert result.exit_code == 4
    assert "is damaged" in result.stderr
    assert not (tmp_path / "model.onnx").exists()


def test_path_that_cannot_be_written_is_reported(home: Path, tmp_path: Path, run: Run) -> None:
    result = run("export", 1, tmp_path / "absent" / "model.onnx")
    assert result.exit_code == 2
    assert "model.onnx cannot be written: No such file or directory" in result.stderr


def test_permissions_of_an_exported_file_follow_the_umask(
    home: Path, tmp_path: Path, run: Run
) -> None:
    before = os.umask(0o027)
    try:
        run("export", 1, tmp_path / "model.onnx")
    finally:
        os.umask(before)
    assert (tmp_path / "model.onnx").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["model.onnx"]
