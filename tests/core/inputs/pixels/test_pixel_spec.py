from __future__ import annotations

import pytest

from core.errors import SpecMismatch
from core.inputs.pixels.decoding import RULES, PixelSpec


def test_pixel_spec_survives_json() -> None:
    spec = PixelSpec(128, 0.875)
    assert PixelSpec.from_json(spec.to_json()) == spec


def test_spec_without_rules_is_of_the_first_rules_and_stays_as_it_was() -> None:
    fields = {"size_px": 144, "crop_fraction": 1.0, "resize": "bilinear, antialiased"}
    assert PixelSpec.from_json(fields) == PixelSpec(144, 1.0, rules=1)
    assert PixelSpec.from_json(fields).to_json() == fields


def test_new_spec_has_the_newest_rules() -> None:
    assert PixelSpec().to_json()["rules"] == RULES[-1]


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
        {"rules": 0},
        {"rules": 3},
    ],
)
def test_pixel_spec_of_other_pixels_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(SpecMismatch):
        PixelSpec.from_json(PixelSpec().to_json() | change)


def test_incomplete_pixel_spec_is_refused() -> None:
    with pytest.raises(SpecMismatch, match="crop_fraction"):
        PixelSpec.from_json({"size_px": 96})
