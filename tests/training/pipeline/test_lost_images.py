"""Runs of labels whose images are missing or damaged, on real images."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core import leases, runs
from core.errors import StoreError
from core.inputs.kind import Limits
from core.labelling import labels, lost_images
from core.registry import versions
from core.runs import Run
from core.settings import Settings
from core.store.blobs import LocalBlobs
from core.store.store import Store
from tests.training.digits_store import digits_of, label, live, retrain
from training.backbones.backbone_ref import BackboneRef
from training.backbones.quantise import MIN_PHOTOS, labelled_photos
from training.dataset import describe_left_out
from training.pipeline.context import open_context
from training.pipeline.run import attempt
from training.recipe import BlocksRecipe, PlannerPolicy, Recipe
from training.worker.trainer import Trainer

RECIPE = Recipe(
    planner=PlannerPolicy(is_automatic=False),
    blocks=BlocksRecipe(flip=False, augment="none", batch_size=8),
)


def path_of(settings: Settings, digest: str) -> Path:
    return Path(settings.resolved_blob_url.removeprefix("file://")) / digest[:2] / digest


def lose(store: Store, settings: Settings, which: Callable[[labels.CurrentLabel], bool]) -> int:
    """Delete the images of these rows, and return their number."""
    with store.db.read() as conn:
        lost = [row for row in labels.current(conn) if which(row)]
    for row in lost:
        path_of(settings, row.image).unlink()
    return len(lost)


def listed(store: Store) -> dict[int, str]:
    """How images are lost, by the example's id."""
    with store.db.read() as conn:
        return {lost.example_id: lost.problem for lost in lost_images.listing(conn, limit=100)}


@pytest.mark.slow
def test_run_goes_on_without_a_missing_and_a_damaged_image_and_names_them(
    starter_store: Store, trainer: Trainer, settings: Settings
) -> None:
    label(starter_store, digits_of("three")[:10] + digits_of("seven")[:10])
    lose(starter_store, settings, lambda row: row.example_id == 4)
    with starter_store.db.read() as conn:
        image = next(row.image for row in labels.current(conn) if row.example_id == 15)
    path_of(settings, image).write_bytes(b"damaged")
    run = retrain(starter_store, trainer)
    assert (run.state, run.outcome) == ("finished", "promoted"), run
    assert run.reason is not None
    assert "2 examples (4, 15)" in run.reason
    assert live(starter_store).gate["reason"] == run.reason
    assert listed(starter_store) == {4: "missing", 15: "damaged"}


@pytest.mark.slow
def test_image_that_is_restored_is_trained_on_again(
    starter_store: Store, trainer: Trainer, settings: Settings
) -> None:
    label(starter_store, digits_of("three")[:10] + digits_of("seven")[:10])
    with starter_store.db.read() as conn:
        image = next(row.image for row in labels.current(conn) if row.example_id == 4)
    content = path_of(settings, image).read_bytes()
    path_of(settings, image).unlink()
    retrain(starter_store, trainer)
    assert listed(starter_store) == {4: "missing"}
    starter_store.blobs.put(content)
    run = retrain(starter_store, trainer)
    assert run.reason is not None
    assert "images are" not in run.reason
    assert listed(starter_store) == {}


@pytest.mark.slow
def test_run_names_an_example_that_it_knows_by_its_embedding_only(
    starter_store: Store, trainer: Trainer, settings: Settings
) -> None:
    label(starter_store, digits_of("three")[:10] + digits_of("seven")[:10])
    retrain(starter_store, trainer)
    with starter_store.db.read() as conn:
        lost, back = (row.image for row in labels.current(conn) if row.example_id in (3, 12))
    path_of(settings, lost).unlink()
    lost_images.mark_lost(starter_store, {lost: "missing", back: "missing"}, time.time())
    run = retrain(starter_store, trainer)
    assert run.reason is not None
    assert "stored embeddings, as their inputs are lost: 1 example (3)" in run.reason
    assert listed(starter_store) == {3: "missing"}


@pytest.mark.slow
def test_run_whose_images_are_nearly_all_lost_fails_and_says_why(
    starter_store: Store, trainer: Trainer, settings: Settings
) -> None:
    label(starter_store, digits_of("three")[:4] + digits_of("seven")[:20])
    num_lost = lose(starter_store, settings, lambda row: row.label == "three")
    run = retrain(starter_store, trainer)
    assert run.state == "failed", run
    assert run.error is not None
    assert f"{num_lost} examples (" in run.error


@pytest.mark.slow
def test_image_lost_after_it_was_embedded_is_left_out_of_tuning(
    starter_store: Store, trainer: Trainer, settings: Settings
) -> None:
    label(starter_store, digits_of("three")[:14] + digits_of("seven")[:14])
    retrain(starter_store, trainer)
    lose(starter_store, settings, lambda row: row.example_id in (2, 20))
    run = _tune(starter_store, settings)
    assert run.state == "finished", run
    assert listed(starter_store) == {2: "missing", 20: "missing"}


def _tune(store: Store, settings: Settings) -> Run:
    with store.db.write() as conn:
        wanted = {"minutes": 0.05}
        runs.request(conn, trigger="request", now=time.time(), tier="blocks", wanted=wanted)
        claimed = leases.claim(conn, "test", time.time(), runs.LONG)
    assert claimed is not None
    attempt(open_context(store, RECIPE, settings, "test"), claimed, lambda: False)
    with store.db.read() as conn:
        return runs.get(conn, claimed.id)


def test_photos_for_int8_leave_a_missing_image_out(
    starter_store: Store, settings: Settings
) -> None:
    label(starter_store, digits_of("three")[:60])
    lose(starter_store, settings, lambda row: row.example_id == 1)
    with starter_store.db.read() as conn:
        num_usable = sum(
            not row.is_held_out and row.example_id != 1 for row in labels.current(conn)
        )
    assert num_usable >= MIN_PHOTOS
    spec = BackboneRef.from_manifest(
        versions.read_manifest(live(starter_store), starter_store)
    ).input_spec
    assert len(labelled_photos(starter_store, spec, Limits())) == num_usable


def test_store_that_does_not_respond_leaves_nothing_out(
    starter_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: LocalBlobs, digest: str) -> bytes:
        raise StoreError("it does not respond")

    label(starter_store, digits_of("three")[:40])
    spec = BackboneRef.from_manifest(
        versions.read_manifest(live(starter_store), starter_store)
    ).input_spec
    monkeypatch.setattr(LocalBlobs, "get", refused)
    with pytest.raises(StoreError):
        labelled_photos(starter_store, spec, Limits())


def test_list_of_left_out_examples_is_bounded() -> None:
    assert describe_left_out([]) == ""
    text = describe_left_out(range(1, 1_235))
    assert "1,234 examples (1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 1,224 more)" in text
