"""Images as a kind of input: bytes of a file to uint8 pixels [H, W, 3]."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.errors import InputError, UndecodableImage
from core.inputs.kind import Array, Limits, Wire
from core.inputs.pixels import fingerprint, formats, thumbnail, trailing
from core.inputs.pixels.decoding import PixelSpec, size_of
from core.inputs.pixels.fingerprint import Fingerprint


class Pixels:
    """B images of a batch [B, H, W, 3]."""

    name = "image"
    noun = "image"
    plural = "images"
    spec_key = PixelSpec.key
    wire = Wire(
        "image",
        ("image/", "application/octet-stream"),
        "image/jpeg (or png, webp, ...)",
        "image=@photo.jpg",
    )
    onnx_inputs: tuple[str, ...] = ("pixels",)
    has_fixed_shape = True
    # On a CPU without VNNI, exact products would take the time that int8 is to save.
    needs_exact_products = False
    has_excerpts = False
    undecodable: type[InputError] = UndecodableImage
    stored_types = "image/*"
    preview_type = thumbnail.MEDIA_TYPE
    preview_suffix = ".jpg"

    def check_installed(self) -> None:
        """Every installation has what images need."""

    def read_spec(self, fields: Any) -> PixelSpec:
        return PixelSpec.from_json(fields)

    def join(self, batches: Sequence[Array]) -> Array:
        return batches[0] if len(batches) == 1 else np.concatenate(batches)

    def feed(self, batch: Array) -> dict[str, Array]:
        return {"pixels": batch}

    def runs(self, batch: Array) -> Sequence[Array]:
        return (batch,)

    def probe(self, shapes: Sequence[Sequence[Any]]) -> Array | None:
        (shape,) = shapes
        is_known = len(shape) == 4 and isinstance(shape[1], int)
        return PixelSpec(size_px=shape[1]).golden(0) if is_known else None

    def encode(self, value: str) -> bytes:
        try:
            return base64.b64decode(value, validate=True)
        except ValueError as error:
            raise UndecodableImage(
                "it is not base64; send base64 in JSON, or binary data"
            ) from error

    def kept(self, content: bytes) -> bytes:
        return trailing.without_trailing(content)

    def measure(self, content: bytes, limits: Limits) -> tuple[int, int]:
        return size_of(content, limits)

    def fingerprint(self, content: bytes, limits: Limits) -> Fingerprint:
        return fingerprint.fingerprint(content, limits)

    def preview(self, content: bytes, limits: Limits) -> bytes:
        return thumbnail.thumbnail(content, limits)

    def preview_size(self, width: int, height: int) -> tuple[int, int]:
        return thumbnail.size_of_thumbnail(width, height)

    def is_whole_preview(self, preview: bytes) -> bool:
        return thumbnail.is_whole(preview)

    def excerpt(self, content: bytes) -> str | None:
        return None

    def media_type(self, content: bytes) -> str:
        return formats.media_type(content)


PIXELS = Pixels()
