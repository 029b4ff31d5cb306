"""Thumbnails on disk: bounded, whole, and none that no row names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import ImageLost, ImageNotKept, UnknownExample, UnknownPrediction
from core.inputs.pixels.kind import PIXELS
from core.labelling import blanking
from core.labelling.examples import image_of
from core.labelling.lost_images import listing
from core.retention.policy import CapturePolicy, RetentionPolicy
from core.retention.sweep import Sweeper
from core.review import images, thumbnails
from core.review.thumbnails import ThumbnailCache
from core.store.blobs import sha256
from core.store.store import Store
from tests.core.labelled_store import IMAGE, OTHER, label, predict
from tests.core.review.test_kept_predictions import add

SMALL = b"\xff\xd8\xff" + bytes(95) + b"\xff\xd9"


def digest(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture
def cache(tmp_path: Path) -> ThumbnailCache:
    return ThumbnailCache(thumbnails.folder_in(tmp_path / "cache"), 1_000, PIXELS)


def test_thumbnail_is_kept_and_removed(cache: ThumbnailCache) -> None:
    assert cache.get(digest(1)) is None
    cache.add(digest(1), SMALL)
    assert cache.get(digest(1)) == SMALL
    assert cache.remove(digest(1))
    assert not cache.remove(digest(1))
    assert cache.get(digest(1)) is None


def test_cut_thumbnail_is_none(cache: ThumbnailCache, tmp_path: Path) -> None:
    cache.add(digest(1), SMALL)
    (path,) = tmp_path.rglob("*.jpg")
    for content in (b"", SMALL[:-1], bytes(100)):
        path.write_bytes(content)
        assert cache.get(digest(1)) is None


def test_oldest_thumbnails_go_when_the_folder_is_full(
    cache: ThumbnailCache, tmp_path: Path
) -> None:
    for number in range(30):
        cache.add(digest(number), SMALL)
        (path,) = tmp_path.rglob(f"{digest(number)}.jpg")
        os.utime(path, (number, number))
        assert cache.get(digest(0)) == SMALL  # in use, so it stays
        os.utime(next(tmp_path.rglob(f"{digest(0)}.jpg")), (99, 99))
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.jpg")) <= 1_100
    assert cache.get(digest(29)) == SMALL
    assert cache.get(digest(1)) is None


def test_thumbnail_that_does_not_fit_or_cannot_be_written_is_not_kept(tmp_path: Path) -> None:
    ThumbnailCache(tmp_path, 99, PIXELS).add(digest(1), SMALL)
    (tmp_path / "file").touch()
    ThumbnailCache(tmp_path / "file", 1_000, PIXELS).add(digest(1), SMALL)
    assert list(tmp_path.rglob("*.jpg")) == []


def test_sweep_deletes_thumbnails_that_no_row_names(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = ThumbnailCache(thumbnails.folder_in(folder), 10_000, PIXELS)
    label(store)
    predict(store, OTHER)
    add(store, 5, image=digest(5), kept_bytes=None)
    for image in (sha256(IMAGE), sha256(OTHER), digest(5), digest(6)):
        cache.add(image, SMALL)
    sweeper = Sweeper(store, CapturePolicy(), RetentionPolicy(), folder)
    assert [(s.kind, s.num_items, s.num_bytes) for s in sweeper.plan(9.0)] == [("cache", 2, 200)]
    list(sweeper.sweep(9.0))
    assert {path.stem for path in folder.rglob("*.jpg")} == {sha256(IMAGE), sha256(OTHER)}


def test_image_is_found_by_its_row(store: Store) -> None:
    example = label(store).event.example_id
    prediction = predict(store, OTHER)
    swept = add(store, 5, kept_bytes=None, capture="swept")
    again = add(store, 6, image=sha256(IMAGE), kept_bytes=None)
    with store.db.read() as conn:
        assert image_of(conn, example) == sha256(IMAGE)
        assert images.of_prediction(conn, prediction) == sha256(OTHER)
        assert images.of_prediction(conn, again) == sha256(IMAGE)  # of the example
        with pytest.raises(ImageNotKept, match="it was swept"):
            images.of_prediction(conn, swept)
        for number in (0, 99, 2**70):
            with pytest.raises(UnknownExample, match="does not exist"):
                image_of(conn, number)
        with pytest.raises(UnknownPrediction, match="does not exist"):
            images.of_prediction(conn, "\0")
    with store.db.write() as conn:
        blanking.retract_all(conn, example, who="ann", now=2.0)
        blanking.blank(conn, example)
        with pytest.raises(UnknownExample, match="was erased"):
            image_of(conn, example)


def test_lost_image_is_recorded_and_says_how_to_get_it_back(sqlite_store: Store) -> None:
    store = sqlite_store
    example = label(store).event.example_id
    predict(store, OTHER)
    store.blobs.delete(sha256(IMAGE))
    with pytest.raises(ImageLost, match=r"is missing in the blob store: restore it"):
        images.read_of_example(store, example, sha256(IMAGE))
    with store.db.read() as conn:
        assert [lost.example_id for lost in listing(conn, limit=9)] == [example]
    store.blobs.delete(sha256(OTHER))
    with pytest.raises(ImageNotKept, match="its file is missing"):
        images.read_of_prediction(store, "7", sha256(OTHER))
