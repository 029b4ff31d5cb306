"""Version 1 of a home of texts: without classes, or by their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import InvalidRequest, NoClasses
from core.models.backbones import Runtime
from core.models.pretrained import minilm
from core.models.servable import Servable, load
from core.registry import versions
from core.registry.bootstrap import ensure_first_version
from core.registry.zero_shot import read_names
from core.settings import Settings
from core.store.store import Store, open_store

CLASSES = ("billing", "bug_report", "praise")


def new_home(folder: Path, kind: str) -> Store:
    return open_store(Settings(home=folder, input=kind))


def first_version(store: Store) -> Servable:
    with store.db.read() as conn:
        manifest = versions.read_manifest(versions.get(conn, 1), store)
    return load(manifest, store.blobs, Runtime("cpu"))


@pytest.mark.slow
def test_home_of_texts_starts_without_classes_and_says_what_to_do(tmp_path: Path) -> None:
    store = new_home(tmp_path, "text")
    assert ensure_first_version(store)
    servable = first_version(store)
    manifest = servable.manifest
    assert (manifest.backbone_name, manifest.classes) == (minilm.NAME, ())
    assert (manifest.precision, manifest.embedding_size) == ("int8", minilm.EMBEDDING_SIZE)
    assert "zero_shot" not in manifest.metrics
    with pytest.raises(NoClasses, match="evergreen import"):
        servable.predict(servable.reader.decode(b"My invoice is wrong").array[np.newaxis])
    store.db.close()


@pytest.mark.slow
def test_named_classes_are_predicted_before_anything_is_labelled(tmp_path: Path) -> None:
    store = new_home(tmp_path, "text")
    assert ensure_first_version(store, classes=CLASSES)
    servable = first_version(store)
    assert servable.manifest.classes == CLASSES
    assert servable.manifest.metrics["zero_shot"] is True
    texts = (
        b"I was charged twice on my invoice",
        b"It crashes with an error when I click on save",
        b"Wonderful work, I love it, thank you so much!",
    )
    batch = [servable.reader.decode(text).array[np.newaxis] for text in texts]
    scores = servable.predict(store.kind.join(batch))
    assert scores.probabilities_BK.argmax(axis=1).tolist() == [0, 1, 2]
    store.db.close()


def test_home_of_images_takes_no_names_and_no_model_of_texts(tmp_path: Path) -> None:
    store = new_home(tmp_path, "image")
    with pytest.raises(InvalidRequest, match="by their examples alone"):
        ensure_first_version(store, classes=CLASSES)
    with pytest.raises(InvalidRequest, match="home of images cannot have the backbone"):
        ensure_first_version(store, minilm.NAME)
    with store.db.read() as conn:
        assert versions.newest_number(conn) is None
    store.db.close()


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["billing"], "at least 2"),
        (["bug", "Bug "], "spellings of one class"),
        (["bug", "none of these"], "is no class"),
        (["bug", "\u0301"], "cannot be read: the text has nothing"),
    ],
)
def test_names_that_are_no_classes_are_refused(names: list[str], problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        read_names(minilm.NAME, names)
