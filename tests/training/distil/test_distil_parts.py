"""The parts of a distillation: batches, rate, views, pruning and recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from core.errors import InvalidRecipe  # noqa: E402
from training.backbones.backbone import build  # noqa: E402
from training.backbones.starter_network import EMBEDDING_SIZE, starter_features  # noqa: E402
from training.distil.prune import prune  # noqa: E402
from training.distil.recipe import DistilRecipe, load_recipe  # noqa: E402
from training.distil.schedule import batch_rows, rate  # noqa: E402
from training.distil.views import views  # noqa: E402

pytestmark = pytest.mark.training

SIZE_PX = 32


def test_epoch_has_every_row_once_in_its_own_order() -> None:
    epochs = [
        np.concatenate([batch_rows(40, 8, seed=3, step=5 * epoch + at) for at in range(5)])
        for epoch in range(2)
    ]
    assert [sorted(rows_N) for rows_N in epochs] == [list(range(40))] * 2
    assert not np.array_equal(*epochs)
    assert len(batch_rows(5, 8, seed=3, step=7)) == 5


def test_rate_warms_up_and_falls_to_zero() -> None:
    rates = [rate(fraction, 0.1) for fraction in np.linspace(0, 1, 101)]
    assert 0 < rates[0] < rates[5] < rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0)


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_views_depend_on_the_generator_alone_and_keep_their_range(mosaic) -> None:
    recipe = DistilRecipe(size_px=40, mosaic=mosaic)
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


def test_view_without_augmentation_is_the_image_or_its_mirror() -> None:
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


def test_mosaic_places_whole_images_side_by_side_unscaled() -> None:
    plain = DistilRecipe(size_px=2 * SIZE_PX, mosaic=1.0, colour=0.0, sharpen=0.0)
    shades = np.arange(10, 250, 60, dtype=np.uint8)
    pixels_NHWC = np.broadcast_to(shades[:, None, None, None], (4, SIZE_PX, SIZE_PX, 3)).copy()
    seen = views(pixels_NHWC, np.arange(2), plain, torch.Generator().manual_seed(3))
    tiles = seen.reshape(2, 3, 2, SIZE_PX, 2, SIZE_PX)
    assert torch.equal(tiles.amin((3, 5)), tiles.amax((3, 5)))
    assert set(tiles.unique().tolist()) <= set(shades.tolist())


def test_pruned_network_stays_close_to_the_full_one() -> None:
    torch.manual_seed(0)
    full = build("torchvision/mobilenet_v2", pretrained=False).net.features
    full(torch.randn(4, 3, 64, 64))
    slim = starter_features().eval()
    with torch.no_grad():
        x_BCHW = torch.randn(12, 3, 64, 64)
        kept = prune(full, slim, x_BCHW)
        was_BD = full(x_BCHW).mean((2, 3))[:, kept]
        is_BD = slim(x_BCHW).mean((2, 3))
    assert len(set(kept)) == EMBEDDING_SIZE
    cosine = torch.nn.functional.cosine_similarity(was_BD, is_BD)
    assert cosine.min() > 0.9


def test_recipe_reports_all_problems_together(tmp_path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("crop = 2.0\nbatch = 0\n")
    with pytest.raises(InvalidRecipe, match=r"batch = 0.*crop = 2\.0"):
        load_recipe(path)
    path.write_text('dropout = 0.5\nbatch = "many"\n')
    with pytest.raises(InvalidRecipe, match=r"batch = 'many'.*dropout is unknown"):
        load_recipe(path)


def test_recipe_in_the_repository_is_valid() -> None:
    found = load_recipe(Path(__file__).parents[3] / "bench" / "starter" / "recipe.toml")
    assert found.serve_px == 144
