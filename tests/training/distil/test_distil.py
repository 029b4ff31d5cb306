from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

import safetensors.numpy  # noqa: E402
import safetensors.torch  # noqa: E402

from tests.support.images import encode, scene  # noqa: E402
from training.backbones.backbone import build, starter_backbone  # noqa: E402
from training.backbones.starter_network import EMBEDDING_SIZE  # noqa: E402
from training.distil.recipe import DistilConfig, DistilRecipe  # noqa: E402
from training.distil.run import Distilled, distil  # noqa: E402
from training.distil.sources import Archive, Folder  # noqa: E402

pytestmark = pytest.mark.training

SIZE_PX = 32
NUM_IMAGES = 48
RECIPE = DistilRecipe(
    image_px=SIZE_PX,
    size_px=48,
    serve_px=48,
    batch=16,
    learning_rate=1e-3,
    warmup_share=0.0,
)


def pictures() -> list[bytes]:
    return [encode(scene(SIZE_PX, SIZE_PX, seed), "PNG") for seed in range(NUM_IMAGES)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("captured")
    for number, image in enumerate(pictures()):
        path = folder / f"day{number % 3}" / f"{number:03}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image)
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "pictures.npz"
    images = pictures()
    np.savez(
        path,
        bytes=np.frombuffer(b"".join(images), np.uint8),
        offsets=np.cumsum([0, *map(len, images)]),
        labels=np.arange(NUM_IMAGES) % 4,
        names=np.array(["a", "b", "c", "d"]),
    )
    return path


@pytest.fixture(scope="module")
def finished(archive, tmp_path_factory) -> tuple[DistilConfig, Distilled]:
    """A complete run, whose decoded images other runs may copy."""
    out = tmp_path_factory.mktemp("finished")
    config = DistilConfig(
        (Archive(archive),), out, teacher="starter", minutes=None, steps=8, recipe=RECIPE
    )
    ended = distil(config)
    return config, ended


def begun(finished: tuple[DistilConfig, Distilled], out: Path) -> DistilConfig:
    """The same run with decoded images and no step yet."""
    config, _ = finished
    shutil.copytree(config.out, out)
    for path in [*out.glob("checkpoint*"), *out.glob("student*"), out / "distil.json"]:
        path.unlink()
    return dataclasses.replace(config, out=out)


class Stop:
    """Stops a run after a number of steps of the student."""

    def __init__(self, after: int) -> None:
        self.left = after

    def tell(self, doing: str, fraction: float, newest: dict[str, float]) -> None:
        self.left -= doing == "distilling"

    def __call__(self) -> bool:
        return self.left <= 0


def weights(path: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(path)


def test_loss_falls(finished, tmp_path) -> None:
    config = dataclasses.replace(begun(finished, tmp_path / "out"), steps=16)
    reported: list[float] = []
    distil(config, lambda doing, fraction, new: reported.extend([new["loss"]] if new else []))
    assert len(reported) == 16
    assert np.mean(reported[-4:]) < 0.9 * np.mean(reported[:4])


def test_student_has_the_layout_of_the_bundle(finished) -> None:
    _, ended = finished
    found = weights(ended.student)
    assert found["head.weight"].shape == (4, EMBEDDING_SIZE)
    assert {k for k in found if k.startswith("features.")} == {
        k for k in starter_backbone().weights() if not k.endswith("num_batches_tracked")
    }
    assert all(np.isfinite(value).all() for value in found.values())
    assert (ended.is_finished, ended.steps, ended.images_seen) == (True, 8, 128)


def test_resumed_run_equals_an_uninterrupted_one(finished, tmp_path) -> None:
    config = begun(finished, tmp_path / "out")
    stop = Stop(after=3)
    stopped = distil(config, stop.tell, stop)
    assert (stopped.is_finished, stopped.steps) == (False, 3)
    ended = distil(dataclasses.replace(config, resume=True))
    assert ended.steps == 8
    whole, resumed = weights(finished[1].student), weights(ended.student)
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_interrupted_run_leaves_a_usable_student(finished, tmp_path) -> None:
    config = begun(finished, tmp_path / "out")
    stop = Stop(after=2)
    ended = distil(config, stop.tell, stop)
    module = build("starter", ended.student)
    pixels_BHWC = torch.zeros(1, SIZE_PX, SIZE_PX, 3, dtype=torch.uint8)
    assert torch.isfinite(module(pixels_BHWC)).all()
    assert json.loads((config.out / "distil.json").read_text())["ended"]["is_finished"] is False


def test_run_stopped_while_its_head_is_fitted_ends_when_resumed(finished, tmp_path) -> None:
    config = begun(finished, tmp_path / "out")
    doing: list[str] = []

    def tell(what: str, fraction: float, newest: dict[str, float]) -> None:
        doing.append(what)

    stopped = distil(config, tell, lambda: doing[-1] == "fitting the head")
    assert (stopped.is_finished, stopped.steps) == (False, 8)
    assert not any(name.startswith("head.") for name in weights(stopped.student))
    ended = distil(dataclasses.replace(config, resume=True))
    whole, resumed = weights(finished[1].student), weights(ended.student)
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_student_of_images_without_labels_has_no_head(folder, tmp_path) -> None:
    config = DistilConfig(
        (Folder(folder),), tmp_path, teacher="starter", minutes=None, steps=1, recipe=RECIPE
    )
    ended = distil(config)
    assert ended.is_finished
    assert not any(name.startswith("head.") for name in weights(ended.student))


def test_student_pruned_from_its_teacher_learns_its_maps(folder, tmp_path) -> None:
    torch.manual_seed(0)
    module = build("torchvision/mobilenet_v2", pretrained=False)
    teacher = tmp_path / "teacher.safetensors"
    state = {k: v.contiguous() for k, v in module.weights().items()}
    safetensors.torch.save_file(state, teacher)
    config = DistilConfig(
        (Folder(folder),),
        tmp_path,
        student="slim",
        teacher_weights=teacher,
        minutes=None,
        steps=2,
        recipe=RECIPE,
    )
    reported: list[dict[str, float]] = []
    ended = distil(config, lambda doing, fraction, new: reported.extend([new] if new else []))
    assert set(reported[0]) == {"loss", "embedding", "maps"}
    found = weights(ended.student)
    assert found["features.18.0.weight"].shape[0] == EMBEDDING_SIZE
    assert all(np.isfinite(value).all() for value in found.values())


def test_nothing_written_is_a_pickle(finished) -> None:
    for path in finished[0].out.iterdir():
        if path.suffix == ".safetensors":
            weights(path)
        elif path.suffix == ".npy":
            np.load(path, allow_pickle=False)
        else:
            assert path.suffix == ".json"
            json.loads(path.read_text())
