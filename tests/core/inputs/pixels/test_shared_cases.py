"""Small real files that other programs wrote, kept outside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from core.errors import ImageTooCostly
from core.inputs.pixels.decoding import PixelSpec, decode
from core.inputs.pixels.trailing import without_trailing
from tests.core.inputs.pixels.pixel_measures import mean_difference

_BESIDE = Path(__file__).parents[5] / "shared" / "cases"
CASES = Path(os.environ.get("PHOTO_CASES", _BESIDE))
SPEC = PixelSpec()

pytestmark = pytest.mark.skipif(
    not (CASES / "plain.png").exists(), reason="the cases are not beside the checkout"
)


def _decode(name: str) -> np.ndarray:
    return decode((CASES / name).read_bytes(), SPEC)


@pytest.mark.parametrize(
    ("name", "like", "levels"),
    [
        ("display-p3.png", "plain.png", 1),
        ("alpha-all-zero.bmp", "plain.png", 0),
        ("grey-10-in-16.tif", "grey-16.tif", 1),
        ("photo.avif", "plain.png", 4),
        ("photo.jp2", "plain.png", 7),
        ("without-end-marker.jpg", "trailing-zeros.jpg", 0),
    ],
)
def test_case_is_the_picture_that_it_shows(name: str, like: str, levels: float) -> None:
    assert mean_difference(_decode(name), _decode(like)) <= levels


def test_heic_case_is_the_picture_that_it_shows() -> None:
    pytest.importorskip("pillow_heif")
    assert mean_difference(_decode("photo.heic"), _decode("plain.png")) <= 4


def test_case_with_a_thousand_scans_is_refused() -> None:
    with pytest.raises(ImageTooCostly, match="1,210 scans"):
        _decode("many-scans.jpg")


def test_noisy_fax_writes_nothing_past_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    _decode("fax-noise.tif")
    assert capfd.readouterr().err == ""


def test_case_with_trailing_zeros_is_kept_without_them() -> None:
    image = (CASES / "trailing-zeros.jpg").read_bytes()
    assert len(without_trailing(image)) < 20_000
