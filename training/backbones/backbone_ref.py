"""A reference to the backbone that a run trains a head on, before a manifest names it.

It is the champion's backbone, another one, or a fine-tuned or quantised one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.errors import SignatureMismatch
from core.inputs import kinds
from core.inputs.kind import InputSpec
from core.models.manifest import Manifest
from core.store.signer import FIELD, Signer

_KIND = "backbone"


@dataclass(frozen=True, slots=True)
class BackboneRef:
    name: str
    # sha256 of its backbone.onnx, in the blob store.
    digest: str
    input_spec: InputSpec
    embedding_size: int
    # The newest label event that its weights were trained on. 0: none.
    snapshot: int = 0
    # sha256 of the float32 backbone.onnx that it was quantised from. None: it is float32 itself.
    quantised_from: str | None = None
    # sha256 of the float32 pretrained backbone.onnx that its blocks were tuned from. None: they
    # were not tuned, or an older release did not record it.
    tuned_from: str | None = None

    @staticmethod
    def from_manifest(manifest: Manifest) -> BackboneRef:
        return BackboneRef(
            manifest.backbone_name,
            manifest.backbone,
            manifest.input_spec,
            manifest.embedding_size,
            manifest.backbone_snapshot,
            manifest.quantised_from,
            manifest.tuned_from,
        )

    @staticmethod
    def from_json(fields: dict[str, Any]) -> BackboneRef:
        """Raises SpecMismatch if this release cannot decode inputs for it."""
        return BackboneRef(
            fields["name"],
            fields["digest"],
            kinds.read_spec(fields),
            fields["embedding_size"],
            fields.get("snapshot", 0),
            fields.get("quantised_from"),
            fields.get("tuned_from"),
        )

    def to_request(self, signer: Signer | None) -> dict[str, Any]:
        """Return what a run is asked for with: what `to_json` returns, signed if there is a key."""
        fields = self.to_json()
        return fields if signer is None else fields | {FIELD: signer.sign(_KIND, fields)}

    @staticmethod
    def from_request(fields: dict[str, Any], signer: Signer | None) -> BackboneRef:
        """Raises SpecMismatch as `from_json` does; SignatureMismatch if there is a key that did not
        sign it: a version with this backbone would be signed."""
        if signer is not None and not signer.has_signed(_KIND, fields):
            raise SignatureMismatch(
                f"the run asks for the backbone {fields.get('name')!r} and is not signed with the "
                "key of EVERGREEN_MANIFEST_KEY_FILE; set it for `evergreen backbone` too, and "
                "request the run again"
            )
        return BackboneRef.from_json(fields)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "digest": self.digest,
            self.input_spec.key: self.input_spec.to_json(),
            "embedding_size": self.embedding_size,
            "snapshot": self.snapshot,
            "quantised_from": self.quantised_from,
            "tuned_from": self.tuned_from,
        }
