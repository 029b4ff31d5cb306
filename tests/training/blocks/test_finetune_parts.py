"""The parts of fine-tuning: cached activations, the tail, checkpoints."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from core.models.pretrained import starter  # noqa: E402
from tests.training.backbones.tiny_backbone import CLASSES, photos, probe, tiny_backbone  # noqa: E402
from training.backbones.backbone import starter_backbone  # noqa: E402
from training.blocks import checkpoint as checkpoint  # noqa: E402
from training.blocks.device import Compute, learning_batch  # noqa: E402
from training.blocks.images.activations import PixelActivations  # noqa: E402
from training.blocks.images.augment import Augmentation  # noqa: E402
from training.blocks.tail import Average, Tail  # noqa: E402
from training.head.head import Head  # noqa: E402
from training.recipe import BlocksRecipe  # noqa: E402

pytestmark = pytest.mark.training

# Half precision keeps 11 bits, and activations here reach about 10.
HALF_RTOL, HALF_ATOL = 1e-3, 1e-3


def augmentation(strength="medium", flip=True, seed=0) -> Augmentation:
    return Augmentation(strength, flip=flip, size_px=16, seed=seed)


def tail_of(backbone=None, depth=2) -> Tail:
    backbone = backbone or tiny_backbone()
    width = backbone.embedding_size
    head = Head(CLASSES, np.ones((width, 3), np.float32), np.zeros(3, np.float32))
    return Tail(backbone, head, np.arange(3), depth).eval()


def activations(
    tmp_path, tail=None, views=2, limit_mb=100.0, strength="medium"
) -> PixelActivations:
    pixels_NHWC, _ = photos(40)
    return PixelActivations(
        tail or tail_of(),
        Compute("cpu"),
        pixels_NHWC,
        np.arange(0, 40, 2),
        augmentation(strength),
        tmp_path / "cache.f16",
        num_views=views,
        limit_mb=limit_mb,
        memory_mb=100,
    )


@pytest.mark.parametrize("depth", [1, 4, 7, 13])
def test_cached_activations_equal_computed_ones(tmp_path, depth) -> None:
    backbone = starter_backbone()
    pixels_NHWC = np.random.default_rng(0).integers(0, 256, (5, 144, 144, 3), np.uint8)
    size_px = starter.pixel_spec().size_px
    tail = tail_of(backbone, depth)

    def make(name: str, limit_mb: float) -> PixelActivations:
        return PixelActivations(
            tail,
            Compute("cpu"),
            pixels_NHWC,
            np.arange(5),
            Augmentation("medium", flip=True, size_px=size_px, seed=0),
            tmp_path / name,
            num_views=2,
            limit_mb=limit_mb,
            memory_mb=100,
        )

    cached, computed = make("cached", 100), make("computed", 0)
    for view in (0, 1):
        cached.fill(view, lambda: None)
        computed.fill(view, lambda: None)
    at_B = np.array([1, 4])
    for view in (0, 1):
        view_B = np.full(2, view)
        got, expected = cached.batch(view_B, at_B), computed.batch(view_B, at_B)
        torch.testing.assert_close(got, expected, rtol=HALF_RTOL, atol=HALF_ATOL)
        with torch.no_grad():
            torch.testing.assert_close(tail(got), tail(expected), rtol=1e-2, atol=0.1)
    mixed = cached.batch(np.array([0, 1]), at_B)
    assert torch.equal(mixed[1], cached.batch(np.array([1]), np.array([4]))[0])


def test_frozen_blocks_run_once_for_each_photo_and_view(tmp_path) -> None:
    tail = tail_of()
    cache = activations(tmp_path, tail)
    seen = []
    tail.backbone.blocks[0].register_forward_hook(lambda *args: seen.append(len(args[1][0])))
    for epoch in range(6):
        cache.fill(epoch, lambda: None)
        views = cache.views(epoch, np.random.default_rng(epoch))
        assert set(views) == ({epoch} if epoch < 2 else {0, 1})
        cache.batch(views, np.arange(20))
    assert sum(seen) == 2 * 20
    again = activations(tmp_path, tail)  # uses the file of a crashed run
    assert again.num_unfilled == 0
    again.fill(0, lambda: None)
    assert sum(seen) == 2 * 20 + 2  # one photo, twice, to learn shapes


def test_small_cache_holds_fewer_views_or_none_and_notes_it(tmp_path) -> None:
    view_mb = activations(tmp_path, views=1).megabytes
    one = activations(tmp_path, views=4, limit_mb=1.5 * view_mb)
    assert one.num_views == 1
    assert "1 of 4 views" in one.notes[0]
    none = activations(tmp_path, views=4, limit_mb=0.5 * view_mb)
    assert none.num_views == 0
    assert "computes the frozen blocks again" in none.notes[0]
    assert set(none.views(7, np.random.default_rng(0))) == {7}
    assert list(tmp_path.glob("*.f16")) == [] or none.num_unfilled == 0


def test_activations_too_large_for_half_precision_are_not_cached(tmp_path) -> None:
    backbone = tiny_backbone()
    with torch.no_grad():
        backbone.blocks[1][1].weight.fill_(1e6)
    cache = activations(tmp_path, tail_of(backbone))
    cache.fill(0, lambda: None)
    assert cache.num_views == 0
    assert "too large for half precision" in cache.notes[0]
    assert cache.batch(np.zeros(2, np.intp), np.arange(2)).max() > 65504
    assert list(tmp_path.iterdir()) == []


def test_unaugmented_rows_have_one_view(tmp_path) -> None:
    assert activations(tmp_path, views=4, strength="none").num_views == 1


def test_optimizer_groups_have_lower_rates_below_and_no_decay_of_norms() -> None:
    recipe = BlocksRecipe(lr=1e-2, lr_decay=0.5, head_lr=3e-3, weight_decay=0.1)
    groups = tail_of(depth=3).groups(recipe)
    assert [g["lr"] for g in groups[::2]] == [0.25e-2, 0.5e-2, 1e-2, 3e-3]
    for group in groups:
        is_matrix = all(p.ndim > 1 for p in group["params"])
        assert group["weight_decay"] == (0.1 if is_matrix else 0.0)


def test_unfreezing_starts_at_the_last_block() -> None:
    tail = tail_of(depth=2)
    for unfrozen, expected in ((1, {"3"}), (2, {"2", "3"})):
        tail.unfreeze(unfrozen)
        learning = [n for n, p in tail.named_parameters() if p.requires_grad]
        blocks = {name.split(".")[2] for name in learning if name.startswith("backbone.")}
        assert blocks == expected
        assert {"head.weight", "head.bias"} <= set(learning)


def test_training_mode_leaves_norms_and_frozen_dropout_in_inference() -> None:
    tail = tail_of(depth=2).train()
    kinds = (torch.nn.BatchNorm2d, torch.nn.Dropout)
    modes = [
        [type(m).__name__[:4] for m in b.modules() if m.training and isinstance(m, kinds)]
        for b in tail.backbone.blocks
    ]
    assert modes == [[], [], ["Drop"], ["Drop"]]


def test_depth_beyond_the_backbone_tunes_all_of_it() -> None:
    tail = tail_of(depth=99)
    assert tail.first == 0
    assert len(tail.groups(BlocksRecipe())) == 2 * 5


def test_tail_computes_what_the_backbone_and_head_do() -> None:
    pixels_BHWC, y_N = photos(9)
    backbone = tiny_backbone()
    head = probe(backbone, pixels_BHWC, y_N)
    tail = Tail(backbone, head, np.arange(3), 2).eval()
    with torch.no_grad():
        expected = head.logits(backbone(torch.from_numpy(pixels_BHWC)).numpy())
        got = tail(tail.frozen(torch.from_numpy(pixels_BHWC))).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_average_moves_slowly_towards_the_weights() -> None:
    tail = tail_of()
    average = Average(tail, horizon=10)
    with torch.no_grad():
        tail.head.bias += 1
    average.update()
    torch.testing.assert_close(average.weights["head.bias"], torch.full((3,), 0.1))
    assert not Average(tail, horizon=0).is_on


def test_microbatch_shrinks_to_fit_memory() -> None:
    tail, example = tail_of(), torch.zeros(1, 16, 4, 4)
    assert learning_batch(tail, example, 32, 100) == 32
    assert learning_batch(tail, example, 32, 0) == 1


def test_checkpoint_is_complete_or_absent_and_of_one_run(tmp_path) -> None:
    path = tmp_path / "run.safetensors"
    assert checkpoint.load(path, "a") is None
    checkpoint.save(path, "a", {"w": torch.arange(3.0)}, {"epoch": 2, "loss": 0.1})
    tensors, facts = checkpoint.load(path, "a")
    assert torch.equal(tensors["w"], torch.arange(3.0))
    assert facts == {"epoch": 2, "loss": 0.1}
    assert checkpoint.load(path, "b") is None
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]
    path.write_bytes(path.read_bytes()[:-4])
    assert checkpoint.load(path, "a") is None
    header = path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")]
    assert json.loads(header)["__metadata__"]["run"] == "a"
