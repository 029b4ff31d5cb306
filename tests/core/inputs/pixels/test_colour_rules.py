"""Rules 2 of a pixel spec: profiles, white points and empty alpha; rules 1 stay as they were."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from core.inputs.pixels.decoding import PixelSpec, decode
from tests.core.inputs.pixels.pixel_measures import JPEG_LEVELS, SPEC, mean_difference
from tests.support import images

OLD = PixelSpec(32, rules=1)
SCENE = images.scene(160, 120)
PLAIN = images.encode(SCENE, "PNG")


def _profile(space: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()  # type: ignore[arg-type]


def _gamma_profile(gamma: float) -> bytes:
    """sRGB whose three tone curves are a power: a picture tagged so is darker or lighter."""
    body = bytearray(_profile("sRGB").replace(b"s\x00R\x00G\x00B", b"p\x00o\x00w\x00r"))
    curve = b"curv" + bytes(4) + (1).to_bytes(4, "big") + round(gamma * 256).to_bytes(2, "big")
    num_tags = int.from_bytes(body[128:132], "big")
    for at in range(132, 132 + 12 * num_tags, 12):
        if body[at : at + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            offset = int.from_bytes(body[at + 4 : at + 8], "big")
            body[offset : offset + len(curve)] = curve
            body[at + 8 : at + 12] = len(curve).to_bytes(4, "big")
    return bytes(body)


LINEAR = _gamma_profile(1.0)


def _in_linear_light() -> Image.Image:
    to_linear = ImageCms.profileToProfile(
        SCENE, ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(BytesIO(LINEAR))
    )
    assert to_linear is not None
    return to_linear


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_profile_is_honoured(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    tagged = images.encode(_in_linear_light(), format, icc_profile=LINEAR, **options)
    # Averaging linear light is not averaging sRGB: the scene has edges and noise.
    assert mean_difference(decode(tagged, SPEC), decode(PLAIN, SPEC)) <= 3
    assert mean_difference(decode(tagged, OLD), decode(PLAIN, SPEC)) > 20


def test_alpha_is_kept_while_colours_are_converted() -> None:
    im = _in_linear_light().convert("RGBA")
    im.putalpha(0)
    assert (decode(images.encode(im, "PNG", icc_profile=LINEAR), SPEC) == 255).all()


@pytest.mark.parametrize(
    "profile", [b"not a profile", LINEAR[:200], _profile("LAB"), _profile("sRGB")]
)
def test_damaged_unfitting_and_srgb_profiles_change_nothing(profile: bytes) -> None:
    tagged = images.encode(SCENE, "PNG", icc_profile=profile)
    assert np.array_equal(decode(tagged, SPEC), decode(PLAIN, SPEC))


def test_grey_picture_with_a_profile_of_colours_is_as_it_was() -> None:
    grey = SCENE.convert("L")
    tagged = images.encode(grey, "PNG", icc_profile=LINEAR)
    assert np.array_equal(decode(tagged, SPEC), decode(images.encode(grey, "PNG"), SPEC))


def test_cmyk_photo_with_a_damaged_profile_is_read() -> None:
    cmyk = images.encode(SCENE.convert("CMYK"), "JPEG", quality=95, icc_profile=b"damaged")
    assert mean_difference(decode(cmyk, SPEC), decode(PLAIN, SPEC)) <= JPEG_LEVELS + 1


def _deep(bits: int, **tags: int) -> bytes:
    grey_HW = np.asarray(SCENE.convert("L")).astype(np.uint32)
    deep_HW = (grey_HW * (2**bits - 1) // 255).astype(np.uint16)
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        info[int(tag.removeprefix("tag_"))] = value
    return images.encode(Image.fromarray(deep_HW), "TIFF", tiffinfo=info)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_grey_of_fewer_bits_in_sixteen_is_not_black(bits: int) -> None:
    expected = decode(_deep(16), SPEC)
    assert mean_difference(decode(_deep(bits), SPEC), expected) <= 1
    assert decode(_deep(bits), OLD).mean() < expected.mean() / 3


def test_file_that_names_its_white_is_believed() -> None:
    white = 4 * (2**10 - 1)
    out = decode(_deep(10, tag_281=white), SPEC)
    assert abs(out.mean() - decode(_deep(16), SPEC).mean() / 4) < 1


def test_white_below_the_samples_is_not_believed() -> None:
    assert np.array_equal(decode(_deep(10, tag_281=1), SPEC), decode(_deep(10), SPEC))


def test_black_grey_stays_black() -> None:
    black = images.encode(Image.fromarray(np.zeros((40, 40), np.uint16)), "TIFF")
    assert not decode(black, SPEC).any()


def _bitmap(alpha: int) -> bytes:
    """A BMP of 32 bits with a mask for alpha, which Pillow reads but does not write."""
    im = SCENE.convert("RGBA")
    im.putalpha(alpha)
    rows = im.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGRA")
    masks = b"".join(mask.to_bytes(4, "little") for mask in (0xFF0000, 0xFF00, 0xFF, 0xFF000000))
    width, height = (side.to_bytes(4, "little") for side in im.size)
    header = (
        (108).to_bytes(4, "little") + width + height + b"\x01\x00\x20\x00\x03\x00\x00\x00"
        + len(rows).to_bytes(4, "little") + bytes(16) + masks + bytes(52)
    )  # fmt: skip
    offset = 14 + len(header)
    size = (offset + len(rows)).to_bytes(4, "little")
    return b"BM" + size + bytes(4) + offset.to_bytes(4, "little") + header + rows


def test_bitmap_whose_alpha_is_zero_everywhere_is_opaque() -> None:
    assert np.array_equal(decode(_bitmap(0), SPEC), decode(PLAIN, SPEC))
    assert (decode(_bitmap(0), OLD) == 255).all()


def test_bitmap_with_some_alpha_is_blended_with_white() -> None:
    out = decode(_bitmap(128), SPEC)
    assert out.mean() > decode(PLAIN, SPEC).mean() + 20


def test_transparent_png_is_white() -> None:
    im = SCENE.convert("RGBA")
    im.putalpha(0)
    assert (decode(images.encode(im, "PNG"), SPEC) == 255).all()


def test_old_rules_ignore_profiles() -> None:
    tagged = images.encode(SCENE, "PNG", icc_profile=LINEAR)
    assert np.array_equal(decode(tagged, OLD), decode(PLAIN, OLD))


def test_old_rules_scale_grey_by_sixteen_bits() -> None:
    flat = images.encode(Image.fromarray(np.full((40, 40), 1023, np.uint16)), "TIFF")
    assert (decode(flat, OLD) == round(1023 / 65535 * 255)).all()
    assert (decode(flat, SPEC) == 255).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_rules_agree_on_plain_pictures(format: str) -> None:
    image = images.encode(SCENE, format)
    assert np.array_equal(decode(image, OLD), decode(image, SPEC))
