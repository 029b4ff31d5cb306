"""Augmentation: its variants, and the contact sheet."""

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from tests.training.backbones.tiny_backbone import photos  # noqa: E402
from training.blocks.device import mix_seed  # noqa: E402
from training.blocks.images.augment import Augmentation, mixup, save_preview  # noqa: E402
from training.recipe import STRENGTHS  # noqa: E402

pytestmark = pytest.mark.training


def augmentation(strength="medium", flip=True, seed=0) -> Augmentation:
    return Augmentation(strength, flip=flip, size_px=16, seed=seed)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_variants_depend_on_seed_view_and_row_alone(strength) -> None:
    pixels_BHWC, _ = photos(6)
    one = augmentation(strength)(pixels_BHWC, 1, range(6))
    assert one.dtype == torch.uint8
    assert one.shape == pixels_BHWC.shape
    torch.rand(3)
    assert torch.equal(augmentation(strength)(pixels_BHWC[4:], 1, [4, 5]), one[4:])
    others = [
        augmentation(strength)(pixels_BHWC, 2, range(6)),
        augmentation(strength, seed=1)(pixels_BHWC, 1, range(6)),
    ]
    assert all(torch.equal(one, other) == (strength == "none") for other in others)


def test_augmentation_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    augmentation()(photos(2)[0], 0, [0, 1])
    assert torch.equal(torch.rand(1), expected)


def test_variants_are_mirrored_only_with_flip() -> None:
    ramp_HWC = np.repeat(np.arange(0, 256, 16, dtype=np.uint8)[None, :, None], 16, axis=0)
    ramps_BHWC = np.repeat(np.repeat(ramp_HWC, 3, axis=2)[None], 40, axis=0)
    for flip in (True, False):
        varied = augmentation("light", flip=flip)(ramps_BHWC, 0, range(40)).float()
        rises_B = varied[:, 8, -1, 0] > varied[:, 8, 0, 0]
        assert bool(rises_B.all()) != flip


def test_mixup_blends_rows_and_targets_in_the_same_way() -> None:
    rows, targets = torch.eye(5), torch.eye(5)
    mixed, mixed_targets = mixup(rows, targets, 0.4, np.random.default_rng(2))
    assert torch.equal(mixed, mixed_targets)
    assert not torch.equal(mixed, rows)
    torch.testing.assert_close(mixed_targets.sum(1), torch.ones(5))


def test_preview_shows_each_photo_and_its_variants(tmp_path) -> None:
    pixels_BHWC, _ = photos(3)
    save_preview(pixels_BHWC, augmentation("strong"), tmp_path / "sheet.png", num_views=4)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (3 * 20 - 4, 5 * 20 - 4, 3)
    np.testing.assert_array_equal(sheet[20:36, :16], pixels_BHWC[1])
    variant = augmentation("strong")(pixels_BHWC, 2, range(3))[1].numpy()
    np.testing.assert_array_equal(sheet[20:36, 60:76], variant)
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_seeds_of_neighbouring_views_and_rows_differ() -> None:
    seeds = {mix_seed(s, v, r) for s in range(3) for v in range(4) for r in range(500)}
    assert len(seeds) == 3 * 4 * 500
    assert max(seeds) < 2**63
