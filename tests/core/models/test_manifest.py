from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from core.errors import SpecMismatch
from core.models.manifest import Manifest, library_versions
from tests.support import tiny

FULL = tiny.plain_manifest(
    version=7,
    parent=6,
    run_id="run",
    classes=("cat", "猫", 'it\'s "quoted"\\'),
    abstain_below=None,
    metrics={"accuracy": 0.9713, "classes": {"猫": {"right": 3}}},
    recipe={"head": {"l2": 1e-3}},
    libraries={"numpy": "2.4"},
    code_revision="abc",
)


def test_manifest_is_read_as_it_was_written() -> None:
    assert Manifest.from_bytes(FULL.to_bytes()) == FULL


@pytest.mark.parametrize("optimised", [None, {"digest": "c" * 64, "machine": "a kind of CPU"}])
def test_manifest_of_an_older_release_is_read_without_its_optimised_form(optimised: Any) -> None:
    assert Manifest.from_bytes(changed(optimised=optimised)) == FULL


def test_bytes_are_the_same_every_time() -> None:
    assert Manifest.from_bytes(FULL.to_bytes()).to_bytes() == FULL.to_bytes()


def test_only_a_signed_manifest_has_a_signature() -> None:
    """Older releases refuse fields that they do not know."""
    assert "signature" not in json.loads(FULL.to_bytes())
    signed = replace(FULL, signature="f" * 64)
    assert Manifest.from_bytes(signed.to_bytes()) == signed


def test_classes_are_legible_in_the_file() -> None:
    assert "猫" in FULL.to_bytes().decode()


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(FULL.to_bytes()) | fields).encode()


def test_unknown_field_is_refused() -> None:
    with pytest.raises(SpecMismatch, match="surprise"):
        Manifest.from_bytes(changed(surprise=1))


@pytest.mark.parametrize("name", list(Manifest.__dataclass_fields__))
def test_missing_field_is_refused_unless_it_has_a_default(name: str) -> None:
    fields = json.loads(FULL.to_bytes())
    name = "pixels" if name == "input_spec" else name
    fields.pop(name, None)
    content = json.dumps(fields).encode()
    with_default = ("recipe", "libraries", "code_revision")
    if name in (*with_default, "quantised_from", "tuned_from", "references", "signature"):
        Manifest.from_bytes(content)
    else:
        with pytest.raises(SpecMismatch, match=name):
            Manifest.from_bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"[" * 100_000,
        changed(classes=7),
        changed(pixels=None),
        changed(pixels={"size_px": 8}),
        changed(golden=[]),
        changed(golden={"seed": 0}),
    ],
)
def test_content_that_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(SpecMismatch):
        Manifest.from_bytes(content)


def test_pixels_of_another_release_are_refused() -> None:
    pixels = json.loads(FULL.to_bytes())["pixels"] | {"resize": "nearest"}
    with pytest.raises(SpecMismatch, match="nearest"):
        Manifest.from_bytes(changed(pixels=pixels))


def test_libraries_that_make_predictions_are_recorded() -> None:
    found = library_versions()
    assert {"evergreen-classifier", "numpy", "onnx", "pillow"} <= found.keys()
    assert any(name.startswith("onnxruntime") for name in found)
