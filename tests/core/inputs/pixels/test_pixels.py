from __future__ import annotations

import threading
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image

from core.errors import ImageTooLarge, InputError, UndecodableImage
from core.inputs.kind import Limits
from core.inputs.pixels import decoding as pixels
from core.inputs.pixels.decoding import PixelSpec, decode, size_of
from tests.core.inputs.pixels.pixel_measures import JPEG_LEVELS, SPEC, flat_colours, mean_difference
from tests.support import images

MAX_TURN_LEVELS = 1  # turning after resizing swaps the two passes, each rounded to 8 bits
# Measured: at most 0.37 on these scenes; the rest leaves room for other JPEG libraries.
MAX_MEAN_REDUCED_LEVELS = 0.8


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("MPO", {"quality": 95, "save_all": True, "append_images": [images.scene(160, 120, 9)]}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("AVIF", {"quality": 95, "subsampling": "4:4:4"}),
        ("JPEG2000", {}),
        ("JPEG2000", {"no_jp2": True}),
    ],
)
def test_every_format_gives_the_same_pixels(format: str, options: dict[str, object]) -> None:
    scene = images.scene(160, 120)
    out = decode(images.encode(scene, format, **options), SPEC)
    assert out.shape == (32, 32, 3)
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous
    assert out.flags.writeable
    assert mean_difference(out, decode(images.encode(scene, "PNG"), SPEC)) <= JPEG_LEVELS


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"not an image at all",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"%PDF-1.7 ...",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"P6 1 1 255 \x00\x00\x00",
    ],
)
def test_body_that_is_no_image_is_undecodable(image: bytes) -> None:
    with pytest.raises(UndecodableImage, match="send JPEG, PNG"):
        decode(image, SPEC)
    with pytest.raises(UndecodableImage, match="send JPEG, PNG"):
        size_of(image)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.9])
def test_truncated_images_are_undecodable_and_keep_the_cause(format: str, fraction: float) -> None:
    body = images.truncated(images.encode(images.scene(160, 120), format), fraction)
    with pytest.raises(UndecodableImage, match=rf"damaged {format}\?, {len(body):,} bytes") as e:
        decode(body, SPEC)
    assert e.value.__cause__ is not None


def test_messages_hold_no_image_content() -> None:
    body = b"II*\x00secret-in-the-image"
    with pytest.raises(UndecodableImage) as e:
        decode(body, SPEC)
    assert "secret" not in str(e.value)


@pytest.mark.parametrize("image", [images.bomb_png(), images.twenty_thousand_square()])
def test_decompression_bomb_is_rejected_before_any_pixel_is_decoded(image: bytes) -> None:
    tracemalloc.start()
    try:
        for refused in (lambda: decode(image, SPEC), lambda: size_of(image)):
            with pytest.raises(ImageTooLarge, match="the limit is 50,000,000; send a smaller copy"):
                refused()
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_message_of_a_large_image_names_its_size() -> None:
    with pytest.raises(ImageTooLarge, match="is 20000 x 20000 = 400,000,000 pixels"):
        decode(images.twenty_thousand_square(), SPEC)


def test_size_between_pillows_own_limits_does_not_warn() -> None:
    image = images.bomb_png(10_000, 10_000)  # where Image.open warns
    with pytest.raises(ImageTooLarge, match="10000 x 10000"):
        decode(image, SPEC)
    assert size_of(image, Limits(max_pixels=100_000_000)) == (10_000, 10_000)


def test_gif_frame_larger_than_its_screen_is_too_large() -> None:
    image = bytearray(images.animated_gif(64, 64))
    at = image.index(b",\x00\x00\x00\x00\x40\x00\x40\x00")
    image[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ImageTooLarge, match="the limit is 50,000,000"):
        decode(bytes(image), SPEC)


def test_limit_is_inclusive() -> None:
    image = images.png(20, 10)
    assert decode(image, SPEC, Limits(max_pixels=200)).shape == (32, 32, 3)
    with pytest.raises(ImageTooLarge, match="20 x 10 = 200 pixels; the limit is 199"):
        decode(image, SPEC, Limits(max_pixels=199))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_equals_the_upright_image(format: str, orientation: int) -> None:
    upright = images.scene(160, 120)
    image = images.exif_rotated(upright, orientation, format)
    out, expected = decode(image, SPEC), decode(images.encode(upright, "PNG"), SPEC)
    assert size_of(image) == (160, 120)
    if format in ("PNG", "TIFF"):
        assert np.abs(out.astype(int) - expected).max() <= MAX_TURN_LEVELS
    else:
        assert mean_difference(out, expected) <= JPEG_LEVELS


@pytest.mark.parametrize("size", [(2400, 1800), (777, 1531), (1601, 1067)])
def test_rotated_reduced_photo_is_close_to_the_upright_one(size: tuple[int, int]) -> None:
    upright = images.scene(*size)
    turned = decode(images.exif_rotated(upright, 6, "JPEG"), PixelSpec())
    expected = decode(images.encode(upright, "JPEG"), PixelSpec())
    assert mean_difference(turned, expected) <= MAX_MEAN_REDUCED_LEVELS


def test_damaged_exif_is_ignored() -> None:
    scene = images.scene(160, 120)
    image = images.encode(scene, "JPEG", exif=b"Exif\x00\x00garbage-instead-of-a-tiff-header")
    assert np.array_equal(decode(image, SPEC), decode(images.encode(scene, "JPEG"), SPEC))


def test_orientation_out_of_range_is_ignored() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 99
    assert size_of(images.encode(images.scene(160, 120), "JPEG", exif=exif)) == (160, 120)


@pytest.mark.parametrize("size_px", [96, 224])
@pytest.mark.parametrize("size", [(2400, 1800), (1600, 1067), (777, 1531)])
def test_reduced_decoding_is_close_to_full_decoding(
    size: tuple[int, int], size_px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = images.jpeg(*size)
    reduced = decode(image, PixelSpec(size_px))
    monkeypatch.setattr(pixels, "MIN_OVERSAMPLING", 10**6)
    full = decode(image, PixelSpec(size_px))
    assert mean_difference(reduced, full) <= MAX_MEAN_REDUCED_LEVELS


def test_animation_is_its_first_frame() -> None:
    assert flat_colours(images.animated_gif()) == [[0, 255, 0], [0, 255, 0]]


def test_one_pixel_fills_the_square() -> None:
    image = images.encode(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")
    assert (decode(image, SPEC) == (1, 2, 3)).all()
    assert (decode(image, PixelSpec(32, 0.1)) == (1, 2, 3)).all()


@pytest.mark.parametrize("size", [(1, 50_000), (50_000, 1), (3, 60_000), (60_000, 3)])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_extreme_shape_is_cropped_to_its_centre(size: tuple[int, int], format: str) -> None:
    image = images.encode(Image.new("RGB", size, (9, 9, 9)), format)
    out = decode(image, PixelSpec(32, 0.5))
    assert out.shape == (32, 32, 3)
    assert (out == 9).all()


def test_crop_keeps_the_centre() -> None:
    im = Image.new("RGB", (300, 100), "red")
    im.paste("blue", (100, 0, 200, 100))
    # The antialiasing filter reaches one output pixel beyond the square.
    assert (decode(images.encode(im, "PNG"), SPEC)[1:-1, 1:-1] == (0, 0, 255)).all()
    im.paste("lime", (125, 25, 175, 75))
    out = decode(images.encode(im, "PNG"), PixelSpec(32, 0.5))
    assert (out[1:-1, 1:-1] == (0, 255, 0)).all()


def test_size_of_reads_only_the_header() -> None:
    image = images.jpeg(640, 480)
    assert size_of(image[:1000]) == (640, 480)
    with pytest.raises(UndecodableImage):
        decode(image[:1000], SPEC)


def test_decoding_is_the_same_in_many_threads() -> None:
    image = images.jpeg(800, 600)
    outs: list[NDArray[np.uint8]] = []
    threads = [threading.Thread(target=lambda: outs.append(decode(image, SPEC))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outs) == 8
    assert all(np.array_equal(out, outs[0]) for out in outs)


SEEDS = [
    images.encode(images.scene(16, 12), format)
    for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000")
] + [images.exif_rotated(images.scene(16, 12), 6, "JPEG"), images.animated_gif(8, 8)]


def only_input_errors(image: bytes) -> None:
    with suppress(InputError):
        decode(image, SPEC, Limits(10**6))
    with suppress(InputError):
        size_of(image)


@settings(max_examples=150, deadline=None)
@given(magic=st.sampled_from([b"", *(seed[:16] for seed in SEEDS)]), rest=st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_input_errors(magic: bytes, rest: bytes) -> None:
    only_input_errors(magic + rest)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=8),
)
def test_damaged_images_raise_nothing_but_input_errors(
    seed: bytes, changes: list[tuple[int, int]]
) -> None:
    body = bytearray(seed)
    for at, value in changes:
        body[at % len(body)] = value
    only_input_errors(bytes(body))
