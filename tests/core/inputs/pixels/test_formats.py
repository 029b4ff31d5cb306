"""Files of phones, cut ends, and containers that hold something else."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image

from core.errors import ImageTooLarge, UndecodableImage
from core.inputs.kind import Limits
from core.inputs.pixels.decoding import decode, size_of
from tests.core.inputs.pixels.pixel_measures import JPEG_LEVELS, SPEC, mean_difference
from tests.support import images

SCENE = images.scene(160, 120)
PLAIN = images.encode(SCENE, "PNG")
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
JPEGS = [
    {},
    {"progressive": True},
    {"restart_marker_rows": 1},
    {"restart_marker_blocks": 4},
]


@pytest.mark.parametrize("options", JPEGS)
@pytest.mark.parametrize("size", [(160, 120), (1600, 1200)])
@pytest.mark.parametrize("num_cut", [1, 2])
def test_jpeg_without_its_end_marker_is_read(
    options: dict[str, object], size: tuple[int, int], num_cut: int
) -> None:
    whole = images.jpeg(*size, **options)
    assert np.array_equal(decode(whole[:-num_cut], SPEC), decode(whole, SPEC))


@pytest.mark.parametrize("options", JPEGS)
@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.95])
def test_jpeg_that_lacks_more_is_undecodable(options: dict[str, object], fraction: float) -> None:
    with pytest.raises(UndecodableImage, match="damaged JPEG"):
        decode(images.truncated(images.jpeg(**options), fraction), SPEC)


@pytest.mark.parametrize("rows", [1, 2])
def test_jpeg_cut_before_a_restart_marker_is_undecodable(rows: int) -> None:
    image = images.jpeg(restart_marker_rows=rows)
    cuts = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", image)]
    assert len(cuts) >= 5
    for cut in cuts:
        with pytest.raises(UndecodableImage):
            decode(image[:cut], SPEC)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "a RIFF file that is not WebP"),
        (b"RIFF\x24\x00\x00\x00AVI LIST", "a RIFF file that is not WebP"),
        (b"IIU\x00\x18\x00\x00\x00", "begins as TIFF does, but is not TIFF"),
        (b"MMOR\x00\x00\x00\x08", "begins as TIFF does, but is not TIFF"),
        (b"\x00\x00\x00\x14ftypisom\x00\x00\x02\x00mp41", "neither AVIF nor HEIC, such as a video"),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00qt  ", "neither AVIF nor HEIC, such as a video"),
        (b"\x00\x00\x00\x14ftypavif\x00\x00\x00\x00avif", "damaged AVIF"),
        (b"\x00\x00\x00\x14ftypmif1\x00\x00\x00\x00avif", "damaged AVIF"),
        (b"II*\x00\x08\x00\x00\x00", "damaged TIFF"),
    ],
)
def test_wrong_container_is_named(image: bytes, name: str) -> None:
    for read in (lambda: decode(image, SPEC), lambda: size_of(image)):
        with pytest.raises(UndecodableImage, match=name):
            read()


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"mif1"])
def test_heic_without_its_extra_is_named_with_the_remedy(
    brand: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    image = HEIC.replace(b"ftypheic", b"ftyp" + brand)
    for read in (lambda: decode(image, SPEC), lambda: size_of(image)):
        with pytest.raises(
            UndecodableImage, match=r"is HEIC.* as JPEG, .*evergreen-classifier\[heic"
        ):
            read()


def test_heic_is_read_with_its_extra() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    image = images.encode(SCENE, "HEIF", quality=95)
    assert size_of(image) == (160, 120)
    assert mean_difference(decode(image, SPEC), decode(PLAIN, SPEC)) <= JPEG_LEVELS
    with pytest.raises(ImageTooLarge):
        decode(image, SPEC, Limits(160 * 120 - 1))


@pytest.mark.parametrize("format", ["AVIF", "JPEG2000"])
def test_limit_of_pixels_holds_before_decoding(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = images.encode(SCENE, format)

    def load(self: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(AvifImagePlugin.AvifImageFile, "load", load)
    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(ImageTooLarge, match="160 x 120"):
        decode(image, SPEC, Limits(1000))
    assert size_of(image) == (160, 120)


def test_deep_grey_of_jpeg_2000_spans_black_to_white() -> None:
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
    out = decode(images.encode(Image.fromarray(ramp), "JPEG2000"), SPEC)
    assert out[16, 0, 0] < 8
    assert out[16, -1, 0] > 247


def test_damaged_fax_writes_nothing_past_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    fax = images.encode(images.scene(64, 600).convert("1"), "TIFF", compression="group3")
    noise = np.random.default_rng(0).bytes(8_000)
    decode(fax[:8] + noise + fax[8 + len(noise) :], SPEC)
    assert capfd.readouterr().err == ""
