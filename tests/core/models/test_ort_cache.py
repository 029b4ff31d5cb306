"""The cache of optimised backbones: what it saves, and what it refuses."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import ChecksumMismatch
from core.inputs.pixels.decoding import PixelSpec
from core.models import backbones
from core.models.backbones import Backbone, Runtime
from core.models.onnx_sessions import Sessions
from core.models.pretrained import starter
from core.models.servable import load
from core.store.blobs import LocalBlobs
from tests.support import tiny
from tests.support.concurrency import in_threads

HERE = "this-kind-of-machine"


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "cpu_identity", lambda: HERE)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def digest(blobs: LocalBlobs) -> str:
    return blobs.put(tiny.backbone_onnx())


def opened(digest: str, blobs: LocalBlobs, cache: Path | None) -> Backbone:
    """As a new process opens it."""
    return Runtime("cpu", cache=cache).backbone(digest, blobs)


def embedding(backbone: Backbone, spec: PixelSpec = tiny.SPEC) -> Any:
    return backbone.embed(spec.golden(7))


def check_same(found: Backbone, blobs: LocalBlobs) -> None:
    expected_BD = embedding(opened(found.digest, blobs, None))
    np.testing.assert_allclose(embedding(found), expected_BD, rtol=0, atol=tiny.BATCH_ATOL)


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records]


def files(cache: Path) -> set[str]:
    return {path.name for path in (cache / "ort").iterdir()}


@pytest.fixture
def num_optimised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry each time that an optimised form is made."""
    made: list[int] = []
    optimise = Sessions.optimise

    def counted(sessions: Sessions, model: Path, to: Path) -> None:
        made.append(1)
        optimise(sessions, model, to)

    monkeypatch.setattr(Sessions, "optimise", counted)
    return made


def test_first_process_writes_the_form_and_the_next_reads_only_that(
    blobs: LocalBlobs, digest: str, cache: Path, num_optimised: list[int]
) -> None:
    first = opened(digest, blobs, cache)
    assert files(cache) == {f"{digest}-{HERE}.ort", f"{digest}-{HERE}.json"}
    check_same(first, blobs)
    expected_BD = embedding(first)
    blobs.delete(digest)
    found = opened(digest, blobs, cache)
    assert found.digest == digest
    np.testing.assert_allclose(embedding(found), expected_BD, rtol=0, atol=tiny.BATCH_ATOL)
    assert len(num_optimised) == 1


def test_form_of_the_starter_gives_its_embedding(blobs: LocalBlobs, cache: Path) -> None:
    spec, digest = starter.pixel_spec(), blobs.put(starter.backbone_onnx())
    expected_BD = embedding(opened(digest, blobs, cache), spec)
    blobs.delete(digest)
    found_BD = embedding(opened(digest, blobs, cache), spec)
    np.testing.assert_allclose(found_BD, expected_BD, rtol=0, atol=1e-4)


def test_processes_may_write_one_form_at_the_same_time(
    blobs: LocalBlobs, digest: str, cache: Path
) -> None:
    for backbone in in_threads(4, lambda _: opened(digest, blobs, cache)):
        check_same(backbone, blobs)
    check_same(opened(digest, blobs, cache), blobs)


def test_form_for_another_machine_is_left_alone_and_not_used(
    blobs: LocalBlobs, digest: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(digest, blobs, cache)
    (cache / "ort" / f"{digest}-{HERE}.ort").write_bytes(b"no model")
    monkeypatch.setattr(backbones, "cpu_identity", lambda: "another")
    check_same(opened(digest, blobs, cache), blobs)
    assert {f"{digest}-{HERE}.ort", f"{digest}-another.ort"} < files(cache)


@pytest.mark.parametrize(
    "damage", ["cut off", "changed", "no model", "no checks", "wrong checks", "list"]
)
def test_damaged_form_is_made_again(
    blobs: LocalBlobs, digest: str, cache: Path, num_optimised: list[int], damage: str
) -> None:
    opened(digest, blobs, cache)
    model = cache / "ort" / f"{digest}-{HERE}.ort"
    content, checks = model.read_bytes(), model.with_suffix(".json")
    {
        "cut off": lambda: model.write_bytes(content[: len(content) // 2]),
        "changed": lambda: model.write_bytes(content[:-1] + b"?"),
        "no model": model.unlink,
        "no checks": checks.unlink,
        "wrong checks": lambda: checks.write_text("{"),
        "list": lambda: checks.write_text("[]"),
    }[damage]()
    check_same(opened(digest, blobs, cache), blobs)
    check_same(opened(digest, blobs, cache), blobs)
    assert len(num_optimised) == 2


@pytest.mark.parametrize("golden", [[9.0] * tiny.EMBEDDING_SIZE, [0.0], [float("nan")] * 4])
def test_form_with_another_golden_embedding_is_reported_and_made_again(
    blobs: LocalBlobs,
    digest: str,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
    golden: list[float],
) -> None:
    opened(digest, blobs, cache)
    checks = cache / "ort" / f"{digest}-{HERE}.json"
    before = json.loads(checks.read_bytes())
    checks.write_text(json.dumps(before | {"golden": golden}))
    with caplog.at_level(logging.WARNING):
        check_same(opened(digest, blobs, cache), blobs)
    assert events(caplog) == ["backbone.optimised_unreadable"]
    assert json.loads(checks.read_bytes())["golden"] == before["golden"]


def test_damaged_backbone_without_a_form_is_refused(
    blobs: LocalBlobs, digest: str, cache: Path
) -> None:
    opened(digest, blobs, cache)
    blobs._path(digest).write_bytes(b"")
    (cache / "ort" / f"{digest}-{HERE}.ort").write_bytes(b"")
    with pytest.raises(ChecksumMismatch, match=digest):
        opened(digest, blobs, cache)


def test_form_that_gives_another_embedding_is_not_cached(
    blobs: LocalBlobs,
    digest: str,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other, optimise = blobs.put(tiny.backbone_onnx(seed=2)), Sessions.optimise

    def another(sessions: Sessions, _model: Path, to: Path) -> None:
        optimise(sessions, blobs._path(other), to)

    monkeypatch.setattr(Sessions, "optimise", another)
    check_same(opened(digest, blobs, cache), blobs)
    assert events(caplog) == ["backbone.not_optimised"]
    assert files(cache) == set()


@pytest.mark.parametrize("fails", ["optimise", "mkdir", "write"])
def test_backbone_loads_where_nothing_can_be_cached(
    blobs: LocalBlobs,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fails: str,
) -> None:
    manifest = tiny.make_manifest(blobs)

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError("the disk is read-only")

    if fails == "optimise":
        monkeypatch.setattr(Sessions, "optimise", forbidden)
    elif fails == "mkdir":
        cache.touch()  # a file, where the folder should be
    else:
        monkeypatch.setattr("core.models.ort_cache.write_whole", forbidden)
    servable = load(manifest, blobs, Runtime("cpu", cache=cache))
    check_same(servable.backbone, blobs)
    assert events(caplog) == ["backbone.not_optimised"]


def test_nothing_is_cached_where_the_cpu_is_unknown(
    blobs: LocalBlobs, digest: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbones, "cpu_identity", lambda: None)
    opened(digest, blobs, cache)
    assert not cache.exists()


def test_forms_of_other_onnxruntimes_are_swept_by_the_next_write(
    blobs: LocalBlobs, digest: str, cache: Path
) -> None:
    opened(digest, blobs, cache)
    folder = cache / "ort"
    kept, old = files(cache), {"onnxruntime": "1.0", "sha256": "", "golden": []}
    (folder / "old.ort").write_bytes(b"model")
    (folder / "old.json").write_text(json.dumps(old))
    opened(digest, blobs, cache)  # reads only
    assert files(cache) == kept | {"old.ort", "old.json"}
    other = blobs.put(tiny.backbone_onnx(seed=2))
    opened(other, blobs, cache)
    assert files(cache) == kept | {f"{other}-{HERE}.ort", f"{other}-{HERE}.json"}
