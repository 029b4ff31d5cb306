from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core.errors import UndecodableImage
from core.inputs.kind import Limits
from core.inputs.pixels.fingerprint import Fingerprint, fingerprint, from_thumb, is_near_duplicate
from tests.support import images

LIMITS = Limits()
SEEDS = range(8)


def print_of(im: Image.Image, format: str = "PNG", **options: object) -> Fingerprint:
    return fingerprint(images.encode(im, format, **options), LIMITS)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("format", "quality"), [("JPEG", 95), ("JPEG", 75), ("JPEG", 40), ("WEBP", 60)]
)
def test_re_encoded_copy_is_a_near_duplicate(seed: int, format: str, quality: int) -> None:
    scene = images.scene(320, 240, seed)
    assert is_near_duplicate(print_of(scene), print_of(scene, format, quality=quality))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scale", [0.5, 0.9, 1.1, 2.0])
def test_resized_copy_is_a_near_duplicate(seed: int, scale: float) -> None:
    scene = images.scene(320, 240, seed)
    copy = scene.resize((round(320 * scale), round(240 * scale)), Image.Resampling.LANCZOS)
    assert is_near_duplicate(print_of(scene), print_of(copy, "JPEG", quality=85))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_copy_rotated_by_exif_is_a_near_duplicate(orientation: int) -> None:
    scene = images.scene(320, 240)
    turned = images.exif_rotated(scene, orientation, "JPEG")
    assert is_near_duplicate(print_of(scene), fingerprint(turned, LIMITS))


def test_rotated_picture_is_no_near_duplicate() -> None:
    scene = images.scene(320, 240)
    turned = scene.transpose(Image.Transpose.ROTATE_90)
    assert not is_near_duplicate(print_of(scene), print_of(turned))


def test_different_images_are_no_near_duplicates() -> None:
    prints = [print_of(images.scene(160, 120, seed)) for seed in range(40)]
    assert not any(is_near_duplicate(a, b) for a, b in combinations(prints, 2))


def test_flat_images_of_different_grey_are_no_near_duplicates() -> None:
    white, grey = (print_of(Image.new("L", (64, 64), level)) for level in (255, 200))
    assert white.bits == grey.bits == 0
    assert not is_near_duplicate(white, grey)


def test_noise_in_flat_areas_flips_no_bits() -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(rng.normal(128, 6, (240, 320)), 0, 255).astype(np.uint8)
    assert print_of(Image.fromarray(noisy)).bits == 0


def test_bits_mark_a_lighter_right_neighbour_row_by_row() -> None:
    rows = np.zeros((8, 9), np.uint8)
    rows[0, 1:] = 3  # first row, first pair: over the margin
    rows[7, 8] = 2  # last row, last pair: within it
    assert from_thumb(rows.tobytes()).bits == 1 << 63
    rows[7, 8] = 3
    assert from_thumb(rows.tobytes()).bits == 1 << 63 | 1


def test_thumb_is_the_mean_of_grey_blocks() -> None:
    columns = np.tile(np.linspace(0, 248, 9, dtype=np.uint8).repeat(8), (72, 1))
    thumb = np.frombuffer(print_of(Image.fromarray(columns)).thumb, np.uint8).reshape(8, 9)
    assert (thumb == columns[0, ::8]).all()


def test_fingerprint_is_rebuilt_from_its_thumb() -> None:
    original = fingerprint(images.jpeg(), LIMITS)
    assert len(original.thumb) == 72
    assert from_thumb(original.thumb) == original


@given(bits=st.integers(0, 2**64 - 1), flips=st.sets(st.integers(0, 63), max_size=3))
def test_hashes_within_three_bits_share_a_band(bits: int, flips: set[int]) -> None:
    a, b = Fingerprint(b"", bits), Fingerprint(b"", bits ^ sum(1 << flip for flip in flips))
    assert all(0 <= band < 2**16 for band in a.bands)
    assert any(x == y for x, y in zip(a.bands, b.bands, strict=True))


def test_undecodable_image_has_no_fingerprint() -> None:
    with pytest.raises(UndecodableImage):
        fingerprint(b"", LIMITS)
