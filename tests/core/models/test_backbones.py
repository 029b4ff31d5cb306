"""Backbones, and those that a process holds."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import SpecMismatch
from core.inputs.pixels.decoding import PixelSpec
from core.models.backbones import Backbone, Runtime
from core.models.servable import load
from core.store.blobs import LocalBlobs
from tests.support import tiny


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 9])
def test_batch_that_is_padded_or_split_gives_the_same_embeddings(
    runtime: Runtime, num: int
) -> None:
    content = tiny.backbone_onnx()
    pixels_BHWC = np.random.default_rng(0).integers(0, 256, (num, 8, 8, 3), dtype=np.uint8)
    expected_BD = Backbone(content, "", runtime).embed(pixels_BHWC)
    found_BD = Backbone(content, "", runtime, batch_sizes=(4, 1)).embed(pixels_BHWC)
    assert found_BD.shape == (num, tiny.EMBEDDING_SIZE)
    np.testing.assert_allclose(found_BD, expected_BD, rtol=0, atol=tiny.BATCH_ATOL)


def test_batch_size_that_cannot_run_is_refused_while_loading(runtime: Runtime) -> None:
    with pytest.raises(SpecMismatch, match="cannot run 4 inputs"):
        # Has room for one image: its batch is fixed.
        Backbone(tiny.backbone_onnx(batch=1), "", runtime, batch_sizes=(1, 4))


def test_golden_pixels_are_the_same_on_every_machine() -> None:
    # Pinned: every version published so far was checked on these.
    pixels_BHWC = tiny.SPEC.golden(0)
    assert pixels_BHWC.shape == (1, 8, 8, 3)
    assert pixels_BHWC[0, 0, :2].tolist() == [[95, 130, 194], [217, 207, 235]]
    assert PixelSpec(size_px=5).golden(1).shape == (1, 5, 5, 3)


def test_cpu_is_chosen_on_request() -> None:
    assert Runtime("cpu").provider == "CPUExecutionProvider"


def test_auto_chooses_the_cpu_where_gpus_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert Runtime("auto").provider == "CPUExecutionProvider"


def test_backbone_is_loaded_once_while_it_is_used(blobs: LocalBlobs, runtime: Runtime) -> None:
    digest = blobs.put(tiny.backbone_onnx())
    assert not runtime.has_backbone(digest)
    first = runtime.backbone(digest, blobs)
    assert runtime.has_backbone(digest)
    assert runtime.backbone(digest, blobs) is first
    del first
    assert not runtime.has_backbone(digest)


def test_backbone_that_two_threads_load_concurrently_is_kept_once(
    blobs: LocalBlobs, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = blobs.put(tiny.backbone_onnx())
    usual, found = runtime._load, []

    def meanwhile(*args: Any) -> Backbone:
        monkeypatch.setattr(runtime, "_load", usual)
        found.append(runtime.backbone(digest, blobs))
        return usual(*args)

    monkeypatch.setattr(runtime, "_load", meanwhile)
    assert runtime.backbone(digest, blobs) is found[0]


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux only")
def test_models_are_loaded_at_idle_priority_and_at_low_priority_on_a_gpu(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def policy() -> int:
        return os.sched_getscheduler(0)

    def is_a_cpu_idle(patience_s: float) -> bool:
        assert patience_s < 1, "a swap waits for this"
        return is_idle

    monkeypatch.setattr("core.system.background._is_a_cpu_idle", is_a_cpu_idle)
    is_idle = True
    assert runtime.run_in_background(policy) == os.SCHED_IDLE
    is_idle = False
    assert runtime.run_in_background(policy) == os.SCHED_OTHER
    is_idle = True
    monkeypatch.setattr(Runtime, "is_on_gpu", True)
    assert runtime.run_in_background(policy) == os.SCHED_OTHER
    assert runtime.run_in_background(threading.current_thread) is not threading.current_thread()


@pytest.mark.skipif(sys.platform != "linux", reason="priority is the whole process's elsewhere")
def test_threads_that_onnxruntime_starts_have_normal_priority(
    blobs: LocalBlobs,
) -> None:
    def threads() -> dict[int, tuple[int, int]]:
        ids = [int(task.name) for task in Path("/proc/self/task").iterdir()]
        return {i: (os.sched_getscheduler(i), os.getpriority(os.PRIO_PROCESS, i)) for i in ids}

    before, runtime = threads(), Runtime("cpu", threads=2)
    manifest = tiny.make_manifest(blobs, backbone_seed=7)
    servable = runtime.run_in_background(lambda: load(manifest, blobs, runtime))
    started = {i: found for i, found in threads().items() if i not in before}
    assert started
    assert set(started.values()) == {before[os.getpid()]}
    del servable  # not before, as its threads end with it
