from __future__ import annotations

import pytest

from core.errors import SpecMismatch
from core.inputs.pixels import PixelSpec


def test_pixel_spec_survives_json() -> None:
    spec = PixelSpec(128, 0.875)
    assert PixelSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"resize": "bicubic"},
        {"size_px": 0},
        {"size_px": "many"},
        {"crop_fraction": 0},
        {"crop_fraction": 1.5},
        {"crop_fraction": float("nan")},
        {"colour": "bgr"},
    ],
)
def test_pixel_spec_of_other_pixels_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(SpecMismatch):
        PixelSpec.from_json(PixelSpec().to_json() | change)


def test_incomplete_pixel_spec_is_refused() -> None:
    with pytest.raises(SpecMismatch, match="crop_fraction"):
        PixelSpec.from_json({"size_px": 96})
