"""Backbones, and their optimised form."""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import ChecksumMismatch, SpecMismatch, StoreError
from core.inputs.pixels import PixelSpec
from core.models import backbones, starter
from core.models.backbones import Backbone, Runtime, golden_pixels
from core.models.manifest import Optimised
from core.models.onnx_sessions import Sessions
from core.models.servable import load
from core.store.blobs import LocalBlobs
from tests.support import tiny

HERE = "this kind of machine"


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "cpu_identity", lambda: HERE)


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 9])
def test_a_batch_that_is_filled_up_or_cut_gives_the_same_embeddings(
    runtime: Runtime, num: int
) -> None:
    content = tiny.backbone_onnx()
    pixels_BHWC = np.random.default_rng(0).integers(0, 256, (num, 8, 8, 3), dtype=np.uint8)
    expected_BD = Backbone(content, "", runtime).embed(pixels_BHWC)
    found_BD = Backbone(content, "", runtime, batch_sizes=(4, 1)).embed(pixels_BHWC)
    assert found_BD.shape == (num, tiny.EMBEDDING_SIZE)
    np.testing.assert_allclose(found_BD, expected_BD, rtol=0, atol=tiny.BATCH_ATOL)


def test_a_size_that_cannot_be_run_is_found_while_loading(runtime: Runtime) -> None:
    with pytest.raises(SpecMismatch, match="cannot run 4 images"):
        # Has room for one image: its batch is fixed.
        Backbone(tiny.backbone_onnx(batch=1), "", runtime, batch_sizes=(1, 4))


def test_golden_pixels_are_the_same_on_every_machine() -> None:
    # Pinned: every version published so far was checked on these.
    pixels_BHWC = golden_pixels(tiny.SPEC, 0)
    assert pixels_BHWC.shape == (1, 8, 8, 3)
    assert pixels_BHWC[0, 0, :2].tolist() == [[95, 130, 194], [217, 207, 235]]
    assert golden_pixels(PixelSpec(size_px=5), 1).shape == (1, 5, 5, 3)


def test_cpu_is_chosen_where_it_is_asked_for() -> None:
    assert Runtime("cpu").provider == "CPUExecutionProvider"


def test_auto_chooses_the_cpu_where_no_gpu_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert Runtime("auto").provider == "CPUExecutionProvider"


def forbidden(*_: object) -> None:
    raise PermissionError("the disk is read-only")


def stored(blobs: LocalBlobs, content: bytes, spec: PixelSpec = tiny.SPEC) -> tuple[str, Optimised]:
    """A backbone and its optimised form: their digests."""
    digest = blobs.put(content)
    runtime = Runtime("cpu")
    optimised = runtime.optimise(Backbone(content, digest, runtime), spec, blobs)
    assert optimised is not None
    return digest, optimised


def embedding(backbone: Backbone, spec: PixelSpec = tiny.SPEC) -> Any:
    return backbone.embed(golden_pixels(spec, 7))


def test_the_optimised_form_of_the_starter_gives_its_embedding(
    blobs: LocalBlobs, runtime: Runtime
) -> None:
    content, spec = starter.backbone_onnx(), starter.pixel_spec()
    digest, optimised = stored(blobs, content, spec)
    assert optimised.machine == HERE
    found = runtime.backbone(digest, blobs, optimised)
    assert found.digest == digest
    expected_BD = embedding(Backbone(content, digest, runtime), spec)
    np.testing.assert_allclose(embedding(found, spec), expected_BD, rtol=0, atol=1e-4)


def test_only_the_optimised_form_is_read(blobs: LocalBlobs, runtime: Runtime) -> None:
    digest, optimised = stored(blobs, tiny.backbone_onnx())
    expected_BD = embedding(Runtime("cpu").backbone(digest, blobs))
    blobs.delete(digest)
    found_BD = embedding(runtime.backbone(digest, blobs, optimised))
    np.testing.assert_allclose(found_BD, expected_BD, rtol=0, atol=tiny.BATCH_ATOL)


@pytest.mark.parametrize("here", ["another kind of machine", None])
def test_what_is_for_another_machine_is_not_run(
    blobs: LocalBlobs, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, here: str | None
) -> None:
    digest, optimised = stored(blobs, tiny.backbone_onnx(seed=1))
    other = tiny.backbone_onnx(seed=2)
    monkeypatch.setattr(backbones, "cpu_identity", lambda: here)
    wrong = Optimised(blobs.put(other), optimised.machine)
    found_BD = embedding(runtime.backbone(digest, blobs, wrong))
    np.testing.assert_array_equal(found_BD, embedding(Runtime("cpu").backbone(digest, blobs)))


@pytest.mark.parametrize("damage", ["absent", "cut off", "changed", "no model"])
def test_a_damaged_optimised_form_is_told_and_the_backbone_itself_is_read(
    blobs: LocalBlobs, runtime: Runtime, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    digest, optimised = stored(blobs, tiny.backbone_onnx())
    path = blobs._path(optimised.digest)
    content = path.read_bytes()
    if damage == "absent":
        path.unlink()
    elif damage == "cut off":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        path.write_bytes(content[:-1] + b"?")
    else:
        optimised = Optimised(blobs.put(b"no model"), HERE)
    with caplog.at_level(logging.WARNING):
        found = runtime.backbone(digest, blobs, optimised)
    assert [record.message for record in caplog.records] == ["backbone.optimised_unreadable"]
    np.testing.assert_array_equal(
        embedding(found), embedding(Runtime("cpu").backbone(digest, blobs))
    )


def test_with_both_damaged_it_is_refused(blobs: LocalBlobs, runtime: Runtime) -> None:
    digest, optimised = stored(blobs, tiny.backbone_onnx())
    for damaged in (digest, optimised.digest):
        blobs._path(damaged).write_bytes(b"")
    with pytest.raises(ChecksumMismatch, match=digest):
        runtime.backbone(digest, blobs, optimised)


def test_what_gives_another_embedding_is_not_stored(
    blobs: LocalBlobs,
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    content, other = tiny.backbone_onnx(seed=1), tiny.backbone_onnx(seed=2)
    backbone = Backbone(content, blobs.put(content), runtime)
    usual = Sessions.optimise

    def another(sessions: Sessions, _model: Path, to: Path) -> None:
        usual(sessions, blobs._path(blobs.put(other)), to)

    monkeypatch.setattr(Sessions, "optimise", another)
    assert runtime.optimise(backbone, tiny.SPEC, blobs) is None
    assert [record.message for record in caplog.records] == ["backbone.not_optimised"]


def test_where_it_cannot_be_made_nothing_is_optimised_and_nothing_fails(
    blobs: LocalBlobs,
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    content = tiny.backbone_onnx()
    backbone = Backbone(content, blobs.put(content), runtime)
    monkeypatch.setattr(Sessions, "optimise", forbidden)
    assert runtime.optimise(backbone, tiny.SPEC, blobs) is None
    assert [record.message for record in caplog.records] == ["backbone.not_optimised"]


def test_a_store_that_is_gone_is_told(blobs: LocalBlobs, runtime: Runtime) -> None:
    content = tiny.backbone_onnx()
    backbone = Backbone(content, "0" * 64, runtime)
    with pytest.raises(StoreError):
        runtime.optimise(backbone, tiny.SPEC, blobs)


def test_a_machine_that_does_not_tell_what_it_is_optimises_nothing(
    blobs: LocalBlobs, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbones, "cpu_identity", lambda: None)
    content = tiny.backbone_onnx()
    backbone = Backbone(content, blobs.put(content), runtime)
    assert runtime.optimise(backbone, tiny.SPEC, blobs) is None
    assert not runtime.can_run(None)


def test_a_backbone_is_opened_once_while_somebody_uses_it(
    blobs: LocalBlobs, runtime: Runtime
) -> None:
    digest = blobs.put(tiny.backbone_onnx())
    assert not runtime.has_backbone(digest)
    first = runtime.backbone(digest, blobs)
    assert runtime.has_backbone(digest)
    assert runtime.backbone(digest, blobs) is first
    del first
    assert not runtime.has_backbone(digest)


def test_of_two_that_open_the_same_backbone_at_once_one_is_kept(
    blobs: LocalBlobs, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = blobs.put(tiny.backbone_onnx())
    usual, found = runtime._open, []

    def meanwhile(*args: Any) -> Backbone:
        monkeypatch.setattr(runtime, "_open", usual)
        found.append(runtime.backbone(digest, blobs))
        return usual(*args)

    monkeypatch.setattr(runtime, "_open", meanwhile)
    assert runtime.backbone(digest, blobs) is found[0]


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux only")
def test_models_are_opened_in_idle_moments_on_a_gpu_at_low_priority(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def policy() -> int:
        return os.sched_getscheduler(0)

    assert runtime.run_in_background(policy) == os.SCHED_IDLE
    monkeypatch.setattr(Runtime, "is_on_gpu", True)
    assert runtime.run_in_background(policy) == os.SCHED_OTHER
    assert runtime.run_in_background(threading.current_thread) is not threading.current_thread()


@pytest.mark.skipif(sys.platform != "linux", reason="priority is the whole process's elsewhere")
def test_threads_that_onnxruntime_starts_have_the_priority_of_those_who_answer(
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
