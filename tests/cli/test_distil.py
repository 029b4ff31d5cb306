from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.photo_folder import write_photos

pytest.importorskip("torch", reason="the training extra is not installed")
pytestmark = pytest.mark.training

RECIPE = "image_px = 32\nsize_px = 48\nserve_px = 48\nbatch = 8\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_distil_trains_a_backbone_on_the_images_that_clients_sent(
    home: Path, run: Run, tmp_path: Path, recipe: Path
) -> None:
    folder = write_photos(tmp_path / "album", per_class=6)
    nothing_yet = run("distil", "--teacher", "starter", "--steps", 1)
    assert nothing_yet.exit_code != 0
    assert "no client has sent an image yet" in nothing_yet.stderr
    assert run("import", folder).exit_code == 0
    options = ["distil", "--teacher", "starter", "--steps", 2, "--recipe", recipe]
    done = run(*options)
    assert done.exit_code == 0, done.stderr
    assert "images.read" in run("audit", "--json").stdout
    weights = home / "distil" / "student.safetensors"
    assert str(weights) in done.stdout.replace("\n", "")
    assert "evergreen backbone use starter" in " ".join(done.stderr.split())
    used = run("backbone", "use", "starter", "--weights", weights)
    assert used.exit_code == 0, used.stderr


def test_distil_rejects_an_unknown_student_and_a_wrong_teacher(
    home: Path, run: Run, tmp_path: Path, recipe: Path
) -> None:
    folder = write_photos(tmp_path / "album", per_class=2)
    options = ["distil", "--images", folder, "--teacher", "starter", "--steps", 1]
    options += ["--recipe", recipe]
    unknown = run(*options, "--student", "tiny")
    assert unknown.exit_code == 2
    assert "no student 'tiny'" in unknown.stderr
    other = run(*options, "--student", "slim")
    assert "is pruned from torchvision/mobilenet_v2" in other.stderr
