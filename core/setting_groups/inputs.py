"""The settings of inputs: their kind and their limits. Part of `core/settings.py`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.inputs.kind import Limits
from core.setting_groups.access import AccessSettings


class InputSettings(AccessSettings):
    input: Literal["", "image", "text"] = Field(
        "",
        description="what a home classifies, image or text; chosen when it is made. Empty means "
        "what it has, and image for a new one",
    )
    max_body_mb: float = Field(25.0, gt=0, description="largest request body, in MB (10^6 bytes)")
    max_import_mb: float = Field(
        4096.0, gt=0, description="largest file of labelled inputs to import, in MB (10^6 bytes)"
    )
    max_pixels: int = Field(50_000_000, ge=1, description="largest image, in pixels")
    max_characters: int = Field(20_000, ge=1, description="longest text, in characters")

    @property
    def limits(self) -> Limits:
        return Limits(self.max_pixels, self.max_characters)

    @property
    def max_body_bytes(self) -> int:
        return int(self.max_body_mb * 1_000_000)

    @property
    def max_import_bytes(self) -> int:
        return int(self.max_import_mb * 1_000_000)
