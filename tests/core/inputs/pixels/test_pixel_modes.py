"""Colour modes: deep, grey, transparent, palette and CMYK images."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from core.inputs.pixels.decoding import PixelSpec, decode
from tests.core.inputs.pixels.pixel_measures import JPEG_LEVELS, SPEC, flat_colours, mean_difference
from tests.support import images


def test_cmyk_photo_is_converted_at_full_and_reduced_size() -> None:
    for width, height in ((160, 120), (1600, 1200)):
        cmyk, rgb = images.cmyk(width, height), images.png(width, height)
        assert mean_difference(decode(cmyk, SPEC), decode(rgb, SPEC)) <= JPEG_LEVELS


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(format: str) -> None:
    row = decode(images.sixteen_bit(format), SPEC)[16, :, 0].astype(int)
    assert row[0] < 4
    assert row[-1] > 251
    assert abs(row[16] - 128) < 8
    assert all(a < b for a, b in pairwise(row))


def test_big_endian_sixteen_bits_equal_little_endian() -> None:
    deep = Image.frombytes("I;16B", (64, 64), np.arange(4096, dtype=">u2").tobytes())
    little = Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64))
    big = decode(images.encode(deep, "TIFF"), SPEC)
    assert np.array_equal(big, decode(images.encode(little, "TIFF"), SPEC))


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e9])
def test_floating_point_spans_black_to_white(scale: float) -> None:
    values = np.tile(np.linspace(-1, 1, 64, dtype=np.float32) * np.float32(scale), (64, 1))
    out = decode(images.encode(Image.fromarray(values), "TIFF"), SPEC)
    assert (out.min(), out.max()) == (0, 255)


def test_floating_point_survives_nan_and_infinity() -> None:
    values = np.full((64, 64), np.nan, np.float32)
    values[0], values[1], values[2:32] = np.inf, -np.inf, 1
    assert decode(images.encode(Image.fromarray(values), "TIFF"), SPEC).shape == (32, 32, 3)


def test_flat_floating_point_is_black() -> None:
    image = images.encode(Image.fromarray(np.full((9, 9), 7, np.float32)), "TIFF")
    assert not decode(image, SPEC).any()


def test_transparent_palette_is_blended_with_white() -> None:
    assert flat_colours(images.palette_transparent()) == [[255, 255, 255], [255, 0, 0]]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_blended_with_white(mode: str) -> None:
    im = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    im.paste((100, 100, 100, 255), (32, 0, 64, 64))
    expected = [[255, 255, 255], [100, 100, 100]]
    assert flat_colours(images.encode(im.convert(mode), "PNG")) == expected


def test_half_transparent_black_is_middle_grey() -> None:
    image = images.encode(Image.new("RGBA", (64, 64), (0, 0, 0, 128)), "PNG")
    assert flat_colours(image)[0] == [127, 127, 127]


@pytest.mark.parametrize(("mode", "key"), [("L", 0), ("RGB", (0, 0, 0)), ("1", 0)])
def test_colour_key_is_blended_with_white(mode: str, key: object) -> None:
    image = images.encode(Image.new(mode, (64, 64), 0), "PNG", transparency=key)
    assert flat_colours(image)[0] == [255, 255, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_palette_and_bilevel_modes_are_averaged_not_sampled(mode: str) -> None:
    columns = np.tile(np.array([0, 255], np.uint8), (64, 32))
    out = decode(images.encode(Image.fromarray(columns).convert(mode), "PNG"), PixelSpec(8))
    assert np.abs(out.astype(int) - 127).max() <= 8
