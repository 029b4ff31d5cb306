"""The weights of backbones: a local file, and published ones."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

import safetensors.torch  # noqa: E402

from core.errors import BackboneUnavailable, ChecksumMismatch, InvalidRequest  # noqa: E402
from core.inputs.pixels.decoding import decode  # noqa: E402
from tests import conftest  # noqa: E402
from tests.training.backbones.random_backbone import in_torch  # noqa: E402
from training.backbones import backbone, download  # noqa: E402
from training.backbones.backbone import build  # noqa: E402
from training.backbones.download import Source, fetch  # noqa: E402
from training.backbones.torchvision_import import torchvision  # noqa: E402
from training.head.design_matrix import prepare  # noqa: E402
from training.head.regression import fit  # noqa: E402

pytestmark = pytest.mark.training

# A folder of weights to try. conftest.py has taken EVERGREEN_* out of the environment.
WEIGHTS_FOLDER = conftest.SHELL_SETTINGS.get("EVERGREEN_TEST_WEIGHTS")
# A folder with a folder of JPEGs for each class.
PHOTOS_FOLDER = conftest.SHELL_SETTINGS.get("EVERGREEN_TEST_PHOTOS")


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    """What torchvision's whole squeezenet saves, in half precision, classifier included."""
    net = torchvision.models.squeezenet1_1()
    file = tmp_path / "squeezenet.safetensors"
    safetensors.torch.save_file({k: v.half() for k, v in net.state_dict().items()}, file)
    return file


def test_local_weights_load_with_and_without_a_classifier(weights_file: Path) -> None:
    whole = build("torchvision/squeezenet1_1", weights_file).weights()
    given = safetensors.torch.load_file(weights_file)
    assert all(torch.equal(tensor, given[key].float()) for key, tensor in whole.items())
    bare = {key: tensor for key, tensor in given.items() if key.startswith("features.")}
    assert bare.keys() == whole.keys()
    safetensors.torch.save_file(bare, weights_file)
    assert build("torchvision/squeezenet1_1", weights_file).weights().keys() == whole.keys()


def test_weights_that_do_not_fit_are_refused_with_their_names(
    weights_file: Path,
) -> None:
    with pytest.raises(InvalidRequest, match=r"lacks bn1\.bias") as raised:
        build("torchvision/resnet18", weights_file)
    assert "also has features.0.bias" in str(raised.value)
    assert "get_model('resnet18', weights='DEFAULT')" in str(raised.value)
    tensors = safetensors.torch.load_file(weights_file)
    tensors["features.0.weight"] = torch.zeros(64, 3, 5, 5)
    safetensors.torch.save_file(tensors, weights_file)
    with pytest.raises(InvalidRequest, match=r"features.0.weight of shape \(64, 3, 5, 5\)"):
        build("torchvision/squeezenet1_1", weights_file)


def test_local_pickle_is_refused(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "model.pth")
    with pytest.raises(InvalidRequest, match=r"safetensors\.torch\.save_file"):
        build("torchvision/squeezenet1_1", tmp_path / "model.pth")


class Library:
    """A web server that publishes one file."""

    def __init__(self, content: bytes, digits: str | None = None) -> None:
        self.num_requests = 0
        library = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                library.num_requests += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        digits = digits or hashlib.sha256(content).hexdigest()[:8]
        url = f"http://127.0.0.1:{self._server.server_port}/model-{digits}.pth"
        self.source = Source(url=url, recipe="RECIPE")

    def __enter__(self) -> Library:
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_published_weights_are_downloaded_once_and_always_checked(tmp_path: Path) -> None:
    with Library(b"weights") as library:
        path = fetch(library.source, tmp_path, progress=False)
        assert path.read_bytes() == b"weights"
        assert fetch(library.source, tmp_path, progress=False) == path
        assert library.num_requests == 1
        path.write_bytes(b"damaged")
        assert fetch(library.source, tmp_path, progress=False).read_bytes() == b"weights"
        assert library.num_requests == 2


def test_published_weights_without_a_network_name_the_remedy(tmp_path: Path) -> None:
    with Library(b"weights") as library:
        pass
    with pytest.raises(BackboneUnavailable, match=r"refused\. .*--weights FILE.*RECIPE"):
        fetch(library.source, tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_published_weights_with_another_hash_are_refused(tmp_path: Path) -> None:
    with (
        Library(b"weights", "0123456789abcdef") as library,
        pytest.raises(ChecksumMismatch, match="0123456789abcdef"),
    ):
        fetch(library.source, tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_download_shows_its_progress_if_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Library(b"weights") as library:
        fetch(library.source, tmp_path / "shown")
        assert "100%" in capfd.readouterr().err
        fetch(library.source, tmp_path / "silent", progress=False)
        assert capfd.readouterr() == ("", "")


def test_published_pickle_is_read_without_running_code(tmp_path: Path, monkeypatch) -> None:
    net = torchvision.models.squeezenet1_1()
    torch.save(net.state_dict(), tmp_path / "library.pth")
    monkeypatch.setattr(backbone, "fetch", lambda *_, **__: tmp_path / "library.pth")
    found = build("torchvision/squeezenet1_1").weights()
    assert all(torch.equal(t, net.state_dict()[key]) for key, t in found.items())


def test_source_without_safe_weights_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(BackboneUnavailable, match="RECIPE"):
        fetch(Source(recipe="RECIPE"), tmp_path)
    assert download.DEFAULT_CACHE.parts[0] == "~"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("torchvision/mobilenet_v2", "mobilenet_v2_features.safetensors"),
        ("torchvision/squeezenet1_1", "squeezenet1_1.safetensors"),
    ],
)
def test_pretrained_weights_separate_photos(name: str, file: str) -> None:
    """Either gets 0.90 of ants and bees right, and random weights 0.57 to 0.63."""
    if not (WEIGHTS_FOLDER and PHOTOS_FOLDER):
        pytest.skip("EVERGREEN_TEST_WEIGHTS and EVERGREEN_TEST_PHOTOS name no folders")
    module = build(name, Path(WEIGHTS_FOLDER) / file)
    classes = sorted(path for path in Path(PHOTOS_FOLDER).iterdir() if path.is_dir())
    shown = [(y, path) for y, c in enumerate(classes) for path in sorted(c.glob("*.jpg"))[:60]]
    pixels = np.stack([decode(path.read_bytes(), module.pixels) for _, path in shown])
    x = np.concatenate([in_torch(module, batch) for batch in np.array_split(pixels, 8)])
    y = np.array([label for label, _ in shown])
    train = np.arange(len(y)) % 2 == 0
    design = prepare(x)
    fitted = fit(design, y, len(classes), l2=0.1, rows=train)
    assert (design.logits(fitted).argmax(axis=1) == y)[~train].mean() >= 0.8
