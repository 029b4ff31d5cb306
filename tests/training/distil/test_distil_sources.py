from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from core.errors import BlobMissing, InvalidRequest, StoreError
from tests.support.images import encode, scene
from training.distil.images import Images, load
from training.distil.sources import UNLABELLED, Archive, Captured, Folder, Source, open_source

SIZE_PX = 32
PICTURES = [encode(scene(SIZE_PX, SIZE_PX, seed), "PNG") for seed in range(12)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "captured"
    for number, image in enumerate(PICTURES):
        path = folder / f"day{number % 3}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "pictures.npz"
    np.savez(
        path,
        bytes=np.frombuffer(b"".join(PICTURES), np.uint8),
        offsets=np.cumsum([0, *map(len, PICTURES)]),
        labels=np.arange(len(PICTURES)) % 4,
        names=np.array(["a", "b", "c", "d"]),
    )
    return path


def loaded(out: Path, *sources: Source) -> Images:
    out.mkdir(exist_ok=True)
    return load(sources, SIZE_PX, out, lambda fraction: None)


def test_folder_and_archive_give_the_same_pixels(folder, archive, tmp_path) -> None:
    by_digest = {f"{n:02}": image for n, image in enumerate(PICTURES)}
    of_folder = loaded(tmp_path / "1", Folder(folder))
    of_archive = loaded(tmp_path / "2", Archive(archive))
    of_store = loaded(tmp_path / "3", Captured(sorted(by_digest), by_digest.__getitem__))
    by_day = [n for day in range(3) for n in range(day, len(PICTURES), 3)]
    np.testing.assert_array_equal(of_folder.pixels_NHWC, of_archive.pixels_NHWC[by_day])
    np.testing.assert_array_equal(of_store.pixels_NHWC, of_archive.pixels_NHWC)
    assert of_archive.classes == ("a", "b", "c", "d")
    assert of_folder.classes == of_store.classes == ()
    assert set(of_folder.labels_N.tolist()) == {UNLABELLED}


def test_decoded_images_are_reused_until_the_sources_change(folder, tmp_path) -> None:
    first = loaded(tmp_path / "out", Folder(folder))
    assert loaded(tmp_path / "out", Folder(folder)).digest == first.digest
    (folder / "new.png").write_bytes(PICTURES[0])
    assert len(loaded(tmp_path / "out", Folder(folder))) == len(PICTURES) + 1


def test_unreadable_images_are_left_out_and_counted(folder, tmp_path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(folder / "day0", mixed)
    (mixed / "000.png").write_bytes(b"no image")
    images = loaded(tmp_path / "out", Folder(mixed))
    assert (len(images), images.num_left_out) == (3, 1)
    assert images.pixels_NHWC.shape == (3, SIZE_PX, SIZE_PX, 3)


def test_captured_images_that_were_deleted_are_left_out(tmp_path) -> None:
    def get(digest: str) -> bytes:
        if digest == "gone":
            raise BlobMissing("it is not there")
        return PICTURES[0]

    images = loaded(tmp_path / "out", Captured(["gone", "here"], get))
    assert (len(images), images.num_left_out) == (1, 1)


def test_store_that_does_not_respond_stops_the_reading_of_captured_images(tmp_path) -> None:
    def get(digest: str) -> bytes:
        raise StoreError("it does not respond")

    with pytest.raises(StoreError):
        loaded(tmp_path / "out", Captured(["a", "b"], get))


def test_sources_without_images_are_refused(tmp_path) -> None:
    with pytest.raises(InvalidRequest, match="no images"):
        loaded(tmp_path / "out", Folder(tmp_path))
    with pytest.raises(InvalidRequest, match="does not exist"):
        open_source(tmp_path / "no.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InvalidRequest, match="neither a folder nor an"):
        open_source(tmp_path / "text.npz")
