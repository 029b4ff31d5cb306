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

from core.errors import InvalidRecipe  # noqa: E402
from tests.images import encode, scene  # noqa: E402
from training.distil.cut import cut  # noqa: E402
from training.distil.recipe import DistilConfig, DistilRecipe, load_recipe  # noqa: E402
from training.distil.run import Distilled, distil  # noqa: E402
from training.distil.schedule import batch_rows, rate  # noqa: E402
from training.distil.sources import Archive, Folder  # noqa: E402
from training.distil.views import views  # noqa: E402
from training.torch_backbone import build, starter_backbone  # noqa: E402
from training.torch_starter import EMBEDDING_SIZE, starter_features  # noqa: E402

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
    """A whole run, whose images later runs may copy so that they need not be decoded again."""
    out = tmp_path_factory.mktemp("finished")
    config = DistilConfig(
        (Archive(archive),), out, teacher="starter", minutes=None, steps=8, recipe=RECIPE
    )
    ended = distil(config)
    return config, ended


def begun(finished: tuple[DistilConfig, Distilled], out: Path) -> DistilConfig:
    """The same run with the images decoded and nothing learnt yet."""
    config, _ = finished
    shutil.copytree(config.out, out)
    for path in [*out.glob("checkpoint*"), *out.glob("student*"), out / "distil.json"]:
        path.unlink()
    return dataclasses.replace(config, out=out)


class Stop:
    """Stops a run after so many steps of the student."""

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
    told: list[float] = []
    distil(config, lambda doing, fraction, new: told.extend([new["loss"]] if new else []))
    assert len(told) == 16
    assert np.mean(told[-4:]) < 0.9 * np.mean(told[:4])


def test_student_is_written_as_the_bundle_is(finished) -> None:
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


def test_images_without_labels_give_a_student_without_head(folder, tmp_path) -> None:
    config = DistilConfig(
        (Folder(folder),), tmp_path, teacher="starter", minutes=None, steps=1, recipe=RECIPE
    )
    ended = distil(config)
    assert ended.is_finished
    assert not any(name.startswith("head.") for name in weights(ended.student))


def test_student_cut_from_its_teacher_learns_its_maps(folder, tmp_path) -> None:
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
    told: list[dict[str, float]] = []
    ended = distil(config, lambda doing, fraction, new: told.extend([new] if new else []))
    assert set(told[0]) == {"loss", "embedding", "maps"}
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


def test_every_row_comes_once_an_epoch_and_each_epoch_in_its_own_order() -> None:
    epochs = [
        np.concatenate([batch_rows(40, 8, seed=3, step=5 * epoch + at) for at in range(5)])
        for epoch in range(2)
    ]
    assert [sorted(rows_N) for rows_N in epochs] == [list(range(40))] * 2
    assert not np.array_equal(*epochs)
    assert len(batch_rows(5, 8, seed=3, step=7)) == 5


def test_rate_warms_up_and_falls_to_nothing() -> None:
    rates = [rate(fraction, 0.1) for fraction in np.linspace(0, 1, 101)]
    assert 0 < rates[0] < rates[5] < rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0)


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_views_depend_on_the_generator_alone_and_keep_their_range(mosaic) -> None:
    recipe = dataclasses.replace(RECIPE, size_px=40, mosaic=mosaic)
    pixels_NHWC = np.random.default_rng(0).integers(0, 256, (9, SIZE_PX, SIZE_PX, 3), np.uint8)
    rows_B = np.arange(4)
    made = [
        views(pixels_NHWC, rows_B, recipe, torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert made[0].shape == (4, 3, 40, 40)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert made[0].min() >= 0
    assert made[0].max() <= 255


def test_without_any_change_asked_for_a_view_is_the_image_or_its_mirror() -> None:
    plain = DistilRecipe(size_px=SIZE_PX, mosaic=0.0, crop=1.0, colour=0.0, sharpen=0.0)
    row = np.arange(SIZE_PX, dtype=np.uint8)
    pixels_NHWC = np.broadcast_to(row[None, None, :, None], (1, SIZE_PX, SIZE_PX, 3)).copy()
    for seed in range(4):
        # The stretch is drawn with crop = 1 too, so look at the middle row's ends only.
        seen = views(pixels_NHWC, np.zeros(1, int), plain, torch.Generator().manual_seed(seed))
        line = seen[0, 0, 16]
        assert torch.equal(line, line.sort().values) or torch.equal(
            line.flip(0), line.sort().values
        )


def test_mosaic_lays_whole_images_side_by_side_unscaled() -> None:
    plain = DistilRecipe(size_px=2 * SIZE_PX, mosaic=1.0, colour=0.0, sharpen=0.0)
    shades = np.arange(10, 250, 60, dtype=np.uint8)
    pixels_NHWC = np.broadcast_to(shades[:, None, None, None], (4, SIZE_PX, SIZE_PX, 3)).copy()
    seen = views(pixels_NHWC, np.arange(2), plain, torch.Generator().manual_seed(3))
    tiles = seen.reshape(2, 3, 2, SIZE_PX, 2, SIZE_PX)
    assert torch.equal(tiles.amin((3, 5)), tiles.amax((3, 5)))
    assert set(tiles.unique().tolist()) <= set(shades.tolist())


def test_cut_network_stays_close_to_the_whole_one() -> None:
    torch.manual_seed(0)
    full = build("torchvision/mobilenet_v2", pretrained=False).net.features
    full(torch.randn(4, 3, 64, 64))
    slim = starter_features().eval()
    with torch.no_grad():
        x_BCHW = torch.randn(12, 3, 64, 64)
        kept = cut(full, slim, x_BCHW)
        was_BD = full(x_BCHW).mean((2, 3))[:, kept]
        is_BD = slim(x_BCHW).mean((2, 3))
    assert len(set(kept)) == EMBEDDING_SIZE
    cosine = torch.nn.functional.cosine_similarity(was_BD, is_BD)
    assert cosine.min() > 0.9


def test_recipe_reports_every_problem_at_once(tmp_path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("crop = 2.0\nbatch = 0\n")
    with pytest.raises(InvalidRecipe, match=r"crop = 2\.0.*batch = 0"):
        load_recipe(path)
    path.write_text('dropout = 0.5\nbatch = "many"\n')
    with pytest.raises(InvalidRecipe, match=r"dropout is unknown.*batch = 'many'"):
        load_recipe(path)


def test_recipe_in_the_repository_is_a_recipe() -> None:
    found = load_recipe(Path(__file__).parents[2] / "bench" / "starter" / "recipe.toml")
    assert found.serve_px == 144
