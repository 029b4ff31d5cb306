"""`evergreen doctor`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.doctor.blob_check import BlobCheck
from core.store.blobs import sha256
from tests.cli.conftest import Run
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`


def blob(home: Path, digest: str) -> Path:
    return home / "blobs" / digest[:2] / digest


@pytest.fixture
def photo(home: Path, run: Run, tmp_path: Path) -> Path:
    """A labelled photo."""
    path = tmp_path / "photo.png"
    path.write_bytes(images.png(24, 20, 1))
    run("label", path, "cat")
    return path


def test_sound_home_is_well(photo: Path, run: Run) -> None:
    result = run("doctor")
    assert result.exit_code == 0
    assert "all is well" in result.stdout


def test_lost_image_is_named_recorded_and_well_again_when_it_is_labelled_again(
    home: Path, photo: Path, run: Run
) -> None:
    digest = sha256(photo.read_bytes())
    blob(home, digest).unlink()
    result = run("doctor", "--repair")
    assert result.exit_code == 4
    assert f"example 1: blob {digest} is missing" in result.stdout
    assert "evergreen lost-images" in result.stdout
    assert json.loads(run("status", "--json").stdout)["degraded"][0]["what"] == "lost-images"
    assert "lost-images, since" in run("status").stdout
    run("label", photo, "cat")
    assert run("doctor").exit_code == 0


@pytest.mark.slow
def test_backbone_of_the_first_version_is_repaired(home: Path, run: Run) -> None:
    shown = json.loads(run("versions", 1, "--json").stdout)
    blob(home, shown["backbone"]).write_bytes(b"damaged")
    assert run("doctor").exit_code == 4
    assert "files lost" in run("versions").stdout
    result = run("doctor", "--repair")
    assert result.exit_code == 0
    assert "comes with this release" in result.stdout
    assert "files lost" not in run("versions").stdout


def test_json_has_every_finding(home: Path, photo: Path, run: Run) -> None:
    blob(home, sha256(photo.read_bytes())).write_bytes(b"damaged")
    (home / "blobs" / "00").mkdir(exist_ok=True)
    result = run("doctor", "--json")
    report = json.loads(result.stdout)
    (problem,) = [each for each in report["findings"] if each["is_problem"]]
    assert (result.exit_code, report["is_sound"], problem["area"]) == (4, False, "images")


def test_other_problems_have_another_exit_code(home: Path, run: Run, monkeypatch) -> None:
    monkeypatch.setenv("EVERGREEN_MIN_FREE_DISK_MB", "1e12")
    result = run("doctor", "--quick")
    assert result.exit_code == 1
    assert "problem   disk" in result.stdout


def test_interrupted_check_says_how_to_go_on(home: Path, run: Run, monkeypatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(BlobCheck, "_check_prefix", interrupt)
    result = run("doctor")
    assert result.exit_code == 130
    assert "evergreen doctor --from 00" in result.stderr


def test_store_that_is_gone_is_unavailable(home: Path, run: Run, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("EVERGREEN_BLOB_URL", str(tmp_path / "unmounted"))
    result = run("doctor")
    assert result.exit_code == 5
    assert "mounted" in result.stdout


def test_damaged_database_is_unavailable(home: Path, run: Run) -> None:
    (home / "evergreen.db").write_bytes(b"no database" * 1000)
    result = run("doctor")
    assert result.exit_code == 5
    assert "restore it from a backup" in result.stdout


def test_doctor_makes_no_home(no_home: Path, run: Run) -> None:
    assert run("doctor").exit_code == 3
    assert not no_home.exists()


@pytest.mark.parametrize("begin", ["", "7", "xx", "7f0"])
def test_place_to_go_on_is_checked(home: Path, run: Run, begin: str) -> None:
    assert run("doctor", "--from", begin).exit_code == 2
