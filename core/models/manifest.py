"""The manifest of a version: all that describes it but its other files."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.errors import SpecMismatch
from core.inputs import kinds
from core.inputs.kind import InputSpec
from core.release import DISTRIBUTION, release


@dataclass(frozen=True, slots=True)
class Golden:
    """A stored input and output. A worker that computes another output rejects the version."""

    # Of the input, which the spec makes.
    seed: int
    logits: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    version: int
    parent: int | None
    run_id: str | None
    tier: str
    created_at: float
    # In the order of the head's outputs.
    classes: tuple[str, ...]
    input_spec: InputSpec
    backbone_name: str
    # sha256 of backbone.onnx and head.onnx.
    backbone: str
    head: str
    embedding_size: int
    # The newest label event that the backbone was trained on; 0: none.
    backbone_snapshot: int
    temperature: float
    # Below this confidence a prediction abstains; None: never.
    abstain_below: float | None
    # The newest label event that the head was trained on; 0: none.
    snapshot: int
    num_trained: int
    num_held_out: int
    metrics: dict[str, Any]
    # Largest difference between the trained and the exported probabilities.
    parity: float
    golden: Golden
    recipe: dict[str, Any] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    code_revision: str = ""
    # sha256 of the float32 backbone.onnx that the int8 one was made from; None: it is float32.
    quantised_from: str | None = None
    # sha256 of the float32 pretrained backbone.onnx that this one was fine-tuned from; None: it was
    # not, or an older release did not record it.
    tuned_from: str | None = None
    # sha256 of references.safetensors; None: too few examples, or an older release made it.
    references: str | None = None
    # By the key of EVERGREEN_MANIFEST_KEY_FILE; empty: published without one.
    signature: str = ""

    @property
    def precision(self) -> str:
        return "float32" if self.quantised_from is None else "int8"

    def to_bytes(self) -> bytes:
        fields = asdict(self)
        # Under the name of its kind: `pixels` or `tokens`.
        fields[self.input_spec.key] = self.input_spec.to_json()
        del fields["input_spec"]
        if not self.signature:
            del fields["signature"]
        return json.dumps(fields, ensure_ascii=False, sort_keys=True, indent=1).encode()

    @staticmethod
    def from_bytes(content: bytes) -> Manifest:
        """Raises SpecMismatch if a field is missing or unknown."""
        fields = read_fields(content)
        try:
            fields["classes"] = tuple(fields["classes"])
            spec = kinds.read_spec(fields)
            del fields[spec.key]
            fields["input_spec"] = spec
            golden = fields["golden"]
            fields["golden"] = Golden(golden["seed"], tuple(golden["logits"]))
            # Older releases stored an optimised backbone with the version.
            fields.pop("optimised", None)
            return Manifest(**fields)
        except (ValueError, KeyError, TypeError) as error:
            raise SpecMismatch(f"the manifest cannot be read: {error}") from error


def read_fields(content: bytes) -> dict[str, Any]:
    """The manifest as JSON has it. Raises SpecMismatch."""
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SpecMismatch(f"the manifest cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise SpecMismatch("the manifest cannot be read: it is no JSON object")
    return fields


@functools.cache
def library_versions() -> dict[str, str]:
    names = (
        "numpy",
        "scipy",
        "onnx",
        "pillow",
        "torch",
        "torchvision",
        "timm",
        "tokenizers",
        "transformers",
    )
    versions = {DISTRIBUTION: release()}
    for name in (*names, "onnxruntime-gpu", "onnxruntime"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def code_revision() -> str:
    """The commit of the checkout that this runs from; empty if it runs from a package."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        result = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip()
