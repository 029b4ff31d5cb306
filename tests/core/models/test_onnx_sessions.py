from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core.errors import SpecMismatch
from core.models import onnx_sessions
from core.models.onnx_sessions import CPU, CUDA, Sessions
from tests.support import tiny

has_gpu = onnx_sessions.why_not_cuda() is None


@pytest.fixture
def _libraries_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with a GPU and a current driver, but without CUDA libraries."""
    if has_gpu:
        pytest.skip("CUDA works here")
    monkeypatch.setattr(onnx_sessions, "_ask_driver", lambda: (1, 99_000))
    onnx_sessions._warn_once.cache_clear()


def test_cpu_is_chosen_on_request() -> None:
    opened = Sessions("cpu")
    assert (opened.provider, opened.is_on_gpu) == (CPU, False)
    assert opened.open(tiny.backbone_onnx()).get_providers() == [CPU]


@pytest.mark.parametrize("devices", ["", "-1"])
def test_gpus_that_are_hidden_are_not_used(monkeypatch: pytest.MonkeyPatch, devices: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    assert onnx_sessions.num_usable_gpus("auto") == 0
    assert onnx_sessions.why_not_cuda() == "the driver shows no GPU"


def test_nothing_is_logged_where_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert Sessions("auto").provider == CPU
    assert caplog.records == []


@pytest.mark.skipif(not has_gpu, reason="no GPU")
def test_gpu_is_chosen_where_there_is_one() -> None:
    opened = Sessions("auto")
    assert (opened.provider, opened.is_on_gpu) == (CUDA, True)
    session = opened.open(tiny.backbone_onnx())
    assert session.get_providers()[0] == CUDA
    session.run(None, {"pixels": np.zeros((2, 8, 8, 3), np.uint8)})


@pytest.mark.usefixtures("_libraries_are_missing")
@pytest.mark.parametrize("provider", ["auto", "cuda"])
def test_cpu_is_used_without_cuda_libraries_and_the_reason_is_logged_once(
    provider: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.WARNING):
        opened = [Sessions(provider) for _ in range(3)]
    assert {found.provider for found in opened} == {CPU}
    (record,) = caplog.records
    assert record.getMessage() == "cuda.unavailable"
    assert record.__dict__["reason"]
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")


@pytest.mark.usefixtures("_libraries_are_missing")
def test_gpu_without_cuda_libraries_is_not_usable() -> None:
    assert onnx_sessions.num_usable_gpus("auto") == 0


def test_gpu_that_does_not_exist_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_sessions, "_ask_driver", lambda: (2, 99_000))
    assert "shows 2 GPUs, and number 2 from 0" in str(onnx_sessions.why_not_cuda(2))


def test_driver_that_is_too_old_is_not_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_sessions, "_ask_driver", lambda: (1, 9_020))
    assert onnx_sessions.num_usable_gpus("auto") == 0
    assert "supports CUDA 9.2" in str(onnx_sessions.why_not_cuda())


def test_content_that_is_no_model_is_refused() -> None:
    with pytest.raises(SpecMismatch, match="onnxruntime cannot load"):
        Sessions("cpu").open(b"no model")


X86 = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Some(R) Processor
flags\t\t: fpu avx2 avx512f

processor\t: 1
flags\t\t: fpu
"""
ARM = """processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd sve
CPU part\t: 0xd0c
"""


@pytest.fixture
def identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], str | None]]:
    """The identity of a machine with this /proc/cpuinfo."""
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(onnx_sessions, "_CPUINFO", path)

    def ask(cpuinfo: str) -> str | None:
        path.write_text(cpuinfo)
        onnx_sessions.cpu_identity.cache_clear()
        return onnx_sessions.cpu_identity()

    yield ask
    onnx_sessions.cpu_identity.cache_clear()


def test_cpu_identity_depends_on_the_kind_and_features_of_the_cpu(
    identity: Callable[[str], str | None],
) -> None:
    assert (
        identity(X86) == identity(X86.replace("fpu avx2 avx512f", "avx2 avx512f fpu")) is not None
    )
    assert identity(ARM) == identity(ARM.replace("50.00", "60.00")) is not None
    others = [
        ARM,
        X86.replace(" avx512f", ""),
        X86.replace("Intel", "Other"),
        X86.replace("Some", "Another"),
        ARM.replace("sve", ""),
        ARM.replace("0xd0c", "0xd40"),
    ]
    assert len({identity(text) for text in (X86, *others)}) == 1 + len(others)


def test_cpu_identity_depends_on_the_onnxruntime_version(
    identity: Callable[[str], str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identity(X86)
    monkeypatch.setattr(onnx_sessions.ort, "__version__", "0.0")
    assert identity(X86) != before


@pytest.mark.parametrize("cpuinfo", ["", "processor : 0\n", "no table"])
def test_cpu_identity_is_none_where_cpuinfo_has_no_features(
    identity: Callable[[str], str | None], cpuinfo: str
) -> None:
    assert identity(cpuinfo) is None


def test_cpu_identity_is_none_without_cpuinfo(
    tmp_path: Path, identity: Callable[[str], str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_sessions, "_CPUINFO", tmp_path / "absent")
    onnx_sessions.cpu_identity.cache_clear()
    assert onnx_sessions.cpu_identity() is None


def test_model_is_read_from_bytes_and_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(tiny.backbone_onnx())
    pixels_BHWC = np.arange(2 * 192, dtype=np.uint8).reshape(2, 8, 8, 3)
    opened = Sessions("cpu")
    found = [
        opened.open(model).run(None, {"pixels": pixels_BHWC})[0]
        for model in (path, path.read_bytes())
    ]
    np.testing.assert_array_equal(*found)
    path.write_bytes(b"no model")
    with pytest.raises(SpecMismatch, match="onnxruntime cannot load"):
        opened.open(path)
