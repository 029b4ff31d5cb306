from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="the training extra is not installed")


from core.errors import InvalidRequest, SpecMismatch  # noqa: E402
from core.inputs.pixels.decoding import PixelSpec  # noqa: E402
from core.inputs.pixels.kind import PIXELS  # noqa: E402
from tests.training.backbones.random_backbone import in_torch, random_backbone  # noqa: E402
from training.backbones import export, names  # noqa: E402
from training.backbones.backbone import Backbone, build, from_onnx  # noqa: E402
from training.backbones.blocks import MAX_BLOCKS  # noqa: E402
from training.backbones.export import export_backbone  # noqa: E402
from training.backbones.torchvision_import import torchvision  # noqa: E402
from training.head.design_matrix import prepare  # noqa: E402
from training.head.regression import fit  # noqa: E402

pytestmark = pytest.mark.training

# Of the embedding's spread. float32 sums in another order, BatchNorm folded by onnxruntime, over
# up to 100 layers: 8e-6 seen in 20 architectures. The limit leaves room for other CPUs.
PARITY = 1e-3

# Of the spread too: the library pools and flattens in another order.
SAME = 1e-4


class Case(NamedTuple):
    name: str
    spec: PixelSpec
    mean: float
    embedding_size: int
    num_blocks: int


IMAGENET, HALF = 0.485, 0.5
FAMILIES = [
    Case("starter", PixelSpec(144, 1.0), IMAGENET, 960, 19),
    Case("efficientnet-lite0", PixelSpec(192, 0.875), 127 / 255, 1280, 18),
    Case("torchvision/resnet18", PixelSpec(224, 224 / 256), IMAGENET, 512, 9),
    Case("torchvision/mobilenet_v2", PixelSpec(224, 224 / 232), IMAGENET, 1280, 19),
    Case("torchvision/mobilenet_v3_small", PixelSpec(224, 224 / 256), IMAGENET, 576, 13),
    Case("torchvision/efficientnet_b0", PixelSpec(224, 224 / 256), IMAGENET, 1280, 18),
    Case("torchvision/squeezenet1_1", PixelSpec(224, 224 / 256), IMAGENET, 512, 9),
    Case("torchvision/regnet_y_400mf", PixelSpec(224, 224 / 232), IMAGENET, 440, 17),
    Case("torchvision/shufflenet_v2_x0_5", PixelSpec(224, 224 / 256), IMAGENET, 1024, 18),
    Case("timm/test_resnet", PixelSpec(160, 0.95), HALF, 96, 7),
    Case("timm/test_vit", PixelSpec(160, 0.95), HALF, 64, 7),
    Case("timm/test_efficientnet", PixelSpec(160, 0.95), IMAGENET, 256, 7),
]
SLOW_FAMILIES = [
    Case("torchvision/vgg11", PixelSpec(224, 224 / 256), IMAGENET, 512, 8),
    Case("torchvision/inception_v3", PixelSpec(299, 299 / 342), HALF, 2048, 16),
    Case("torchvision/googlenet", PixelSpec(224, 224 / 256), HALF, 1024, 12),
    Case("torchvision/convnext_tiny", PixelSpec(224, 224 / 236), IMAGENET, 768, 11),
    Case("torchvision/vit_b_32", PixelSpec(224, 224 / 256), IMAGENET, 768, 13),
]
CASES = [pytest.param(case, id=case.name) for case in FAMILIES] + [
    pytest.param(case, id=case.name, marks=pytest.mark.slow) for case in SLOW_FAMILIES
]


@pytest.fixture(autouse=True)
def _seeded(one_thread):
    torch.manual_seed(0)


def photos(size_px: int, num: int = 20) -> NDArray[np.uint8]:
    """Synthetic pictures of two kinds, taking turns: stripes across and stripes down."""
    generator = np.random.default_rng(0)
    row, column = np.mgrid[:size_px, :size_px] / size_px
    pictures = [
        127 + 127 * np.sin(generator.uniform(20, 40) * (row, column)[i % 2])[..., None]
        for i in range(num)
    ]
    noise = generator.integers(-20, 20, (num, size_px, size_px, 3))
    return np.clip(np.stack(pictures) + noise, 0, 255).astype(np.uint8)


def in_onnx(model: bytes, *batches: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [session.run(None, {"pixels": batch})[0] for batch in batches]


@pytest.mark.parametrize("case", CASES)
def test_backbone_of_each_family_builds_splits_exports_and_trains_a_head(case: Case) -> None:
    module = random_backbone(case.name)
    pixels = photos(case.spec.size_px, 20 if case in FAMILIES else 8)
    assert (module.name, module.pixels, module.mean[0]) == (case.name, case.spec, case.mean)
    assert (module.embedding_size, len(module.blocks)) == (case.embedding_size, case.num_blocks)
    assert_blocks_hold_every_weight_once(module)

    expected_BD = in_torch(module, pixels[:3])
    assert expected_BD.shape == (3, case.embedding_size)
    assert_any_cut_gives_the_same(module, pixels[:1], expected_BD[:1])

    model = export_backbone(module)
    got_BD, first_BD = in_onnx(model, pixels, pixels[:1])
    spread = expected_BD.std()
    assert np.isfinite(got_BD).all()
    assert spread > 0
    assert np.abs(got_BD[:3] - expected_BD).max() <= PARITY * spread
    assert np.abs(first_BD - got_BD[:1]).max() <= PARITY * spread

    again = from_onnx(case.name, model)
    np.testing.assert_array_equal(in_torch(again, pixels[:3]), expected_BD)

    design = prepare(got_BD / spread)
    y = np.arange(len(got_BD)) % 2
    fitted = fit(design, y, 2, l2=1e-2)
    assert (design.logits(fitted).argmax(axis=1) == y).mean() >= 0.9


def assert_blocks_hold_every_weight_once(module: Backbone) -> None:
    of_blocks = [id(p) for block in module.blocks for p in block.parameters()]
    assert sorted(of_blocks) == sorted(id(p) for p in module.parameters())
    assert 5 <= len(module.blocks) <= MAX_BLOCKS


def assert_any_cut_gives_the_same(module: Backbone, pixels, expected_BD) -> None:
    num = len(module.blocks)
    with torch.inference_mode():
        for cut in (0, 1, num // 2, num - 1, num):
            activation = module.forward_to(cut, torch.from_numpy(pixels))
            got_BD = module.forward_from(cut, activation).numpy()
            assert np.abs(got_BD - expected_BD).max() <= SAME * expected_BD.std()


@pytest.mark.parametrize(
    ("model", "classifier"),
    [
        ("resnet18", "fc"),
        ("mobilenet_v3_small", "classifier"),
        ("efficientnet_b0", "classifier"),
        pytest.param("inception_v3", "fc", marks=pytest.mark.slow),
        pytest.param("googlenet", "fc", marks=pytest.mark.slow),
        pytest.param("convnext_tiny", "classifier.2", marks=pytest.mark.slow),
        pytest.param("vit_b_32", "heads", marks=pytest.mark.slow),
        pytest.param("swin_t", "head", marks=pytest.mark.slow),
    ],
)
def test_embedding_equals_the_input_of_the_classifier(model: str, classifier: str) -> None:
    """Normalised as torchvision does it, transform_input and all."""
    module = random_backbone(f"torchvision/{model}")
    scaled = {"inception_v3", "googlenet"}
    options = {"aux_logits": False, "transform_input": True, "init_weights": False}
    net = torchvision.models.get_model(model, **(options if model in scaled else {})).eval()
    unfit = net.load_state_dict(module.weights(), strict=False)
    assert not unfit.unexpected_keys
    seen: list[torch.Tensor] = []
    net.get_submodule(classifier).register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    pixels = photos(module.pixels.size_px, 1)
    shown = torchvision.models.get_model_weights(model).DEFAULT.transforms()
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (shown.mean, shown.std))
    with torch.inference_mode():
        net((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std)
    expected_BD = seen[0].numpy()
    assert np.abs(in_torch(module, pixels) - expected_BD).max() <= SAME * expected_BD.std()


def test_each_name_is_one_of_torchvisions() -> None:
    known = set(torchvision.models.list_models(module=torchvision.models))
    named = [model for models in names.FAMILIES.values() for model in models]
    assert len(named) == len(set(named))
    assert set(named) <= known
    assert names.all_names(PIXELS)[:2] == ["efficientnet-lite0", "starter"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("resnet18", "torchvision/resnet18"),
        ("torchvision/resnet19", "torchvision/resnet18"),
        ("startr", "starter"),
        ("efficientnet-lite", "efficientnet-lite0"),
        ("keras/xyz", "torchvision/MODEL"),
        ("timm/../x", "timm/MODEL"),
    ],
)
def test_unknown_name_is_refused_with_a_suggestion(name: str, remedy: str) -> None:
    with pytest.raises(InvalidRequest, match=remedy):
        build(name)


def test_unknown_timm_model_is_refused_with_a_suggestion() -> None:
    pytest.importorskip("timm", reason="the timm extra is not installed")
    with pytest.raises(InvalidRequest, match="timm/xception41"):
        build("timm/xception4")


def test_batchnorm_does_not_change_in_training_and_gradients_reach_every_block() -> None:
    module = random_backbone("torchvision/resnet18").train()
    before = {key: tensor.clone() for key, tensor in module.weights().items()}
    module(torch.from_numpy(photos(64, 2))).sum().backward()
    assert module.training
    assert module.blocks.training
    assert all(p.grad is not None for block in module.blocks for p in block.parameters())
    assert all(torch.equal(before[key], tensor) for key, tensor in module.weights().items())


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/test_vit"])
def test_copy_of_a_backbone_has_its_own_weights_and_blocks(name: str) -> None:
    module = random_backbone(name)
    twin = copy.deepcopy(module)
    pixels = photos(module.pixels.size_px, 1)
    before_BD = in_torch(module, pixels)
    with torch.no_grad():
        for parameter in twin.net.parameters():
            parameter.mul_(1.5)
    np.testing.assert_array_equal(in_torch(module, pixels), before_BD)
    assert not np.allclose(in_torch(twin, pixels), before_BD)
    assert_blocks_hold_every_weight_once(twin.to(torch.bfloat16))
    assert twin.blocks[0](twin.normalise(torch.from_numpy(pixels))).dtype == torch.bfloat16


def test_version_of_another_backbone_is_refused() -> None:
    model = export_backbone(random_backbone("torchvision/squeezenet1_1"))
    with pytest.raises(SpecMismatch, match="torchvision/resnet18"):
        from_onnx("torchvision/resnet18", model)


def test_backbone_beyond_the_limit_of_onnx_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(export, "MAX_WEIGHTS_BYTES", 1_000_000)
    with pytest.raises(InvalidRequest, match="smaller backbone"):
        export_backbone(random_backbone("torchvision/squeezenet1_1"))
