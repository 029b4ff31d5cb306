"""The index of labelled examples: it follows labels, new examples, erasures and backbones."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import ImageLost, ImageNotKept, UnknownExample, UnknownPrediction
from core.inputs.kind import Limits
from core.labelling import embeddings, intake, lost_images, retractions
from core.labelling.intake import LabelRequest
from core.review import neighbours
from core.review.neighbours import NeighbourIndex
from core.store.store import Store
from tests.core.erasure.erasing import eraser
from tests.core.review.queued import content, publish, wait
from tests.support import tiny

pytestmark = pytest.mark.slow  # not in make check

BACKBONE = "b" * 64
DIRECTIONS = ((1, 0, 0, 0), (1, 0.5, 0, 0), (1, 1, 0, 0), (0, 1, 0, 0), (0, 0, -1, 0))


@pytest.fixture(autouse=True)
def _examples(store: Store) -> None:
    """Example 1 to 5, labelled cat, dog, cat, ..., with the directions above."""
    publish(store)
    for number, direction in enumerate(DIRECTIONS, 1):
        label(store, number, direction)


def label(store: Store, number: int, direction: tuple[float, ...], name: str | None = None) -> int:
    request = LabelRequest(name or ("dog", "cat")[number % 2])
    event = intake.label_image(store, content(number), request, Limits(), 1.0).event
    with store.db.write() as conn:
        vector_D = 30 * np.array(direction, np.float32)
        embeddings.put(conn, BACKBONE, [(event.example_id, vector_D)])
    return event.id


def near(index: NeighbourIndex, store: Store, example_id: int, limit: int = 3) -> list[int]:
    with store.db.read() as conn:
        query = neighbours.of_example(conn, example_id, BACKBONE)
    assert query.x_D is not None
    found = index.nearest(query, query.x_D, BACKBONE, limit, None)
    return [each.example.id for each in found]


def test_nearest_come_first_without_the_image_itself(store: Store) -> None:
    index = NeighbourIndex(store)
    assert near(index, store, 1) == [2, 3, 4]
    assert near(index, store, 5, limit=100) == [1, 2, 3, 4]
    with store.db.read() as conn:
        query = neighbours.of_example(conn, 1, BACKBONE)
    assert query.x_D is not None
    first = index.nearest(query, query.x_D, BACKBONE, 1, None)[0]
    assert first.similarity == pytest.approx(1 / 1.25**0.5, abs=0.005)
    assert (first.example.label, first.example.id) == ("dog", 2)


def test_prediction_has_the_neighbours_of_its_direction(store: Store) -> None:
    prediction_id = wait(store, 9, (0, 1, 0.1, 0), version=2)
    with store.db.read() as conn:
        query = neighbours.of_prediction(conn, prediction_id, BACKBONE)
    assert query.x_D is not None
    found = NeighbourIndex(store).nearest(query, query.x_D, BACKBONE, 2, None)
    assert [each.example.id for each in found] == [4, 3]


def test_prediction_of_a_labelled_image_has_not_itself_as_a_neighbour(store: Store) -> None:
    prediction_id = wait(store, 4, (0, 1, 0, 0))
    with store.db.read() as conn:
        query = neighbours.of_prediction(conn, prediction_id, BACKBONE)
    assert query.x_D is not None
    found = NeighbourIndex(store).nearest(query, query.x_D, BACKBONE, 1, None)
    assert [each.example.id for each in found] == [3]


@pytest.mark.parametrize("fields", [{"version": 3}, {"direction": None}])
def test_prediction_of_another_backbone_has_to_be_embedded(store: Store, fields) -> None:
    prediction_id = wait(store, 9, **{"direction": (1, 0, 0, 0)} | fields)
    with store.db.read() as conn:
        query = neighbours.of_prediction(conn, prediction_id, BACKBONE)
    assert query.x_D is None
    with pytest.raises(ImageNotKept, match="its file is gone"):
        neighbours.read_image_of(store, query)


@pytest.mark.parametrize("content_now", [None, b"damaged"])
def test_lost_image_of_an_example_without_embedding_is_recorded(
    store: Store, content_now: bytes | None
) -> None:
    with store.db.read() as conn:
        query = neighbours.of_example(conn, 1, "c" * 64)
    assert query.x_D is None
    store.blobs.delete(query.image)
    if content_now is not None:
        store.blobs.put(content_now, digest=query.image)
    with pytest.raises(ImageLost, match="restore it from a backup"):
        neighbours.read_image_of(store, query)
    with store.db.read() as conn:
        assert [lost.example_id for lost in lost_images.listing(conn, limit=9)] == [1]


def test_labels_are_those_of_now(store: Store) -> None:
    index = NeighbourIndex(store)
    assert near(index, store, 1) == [2, 3, 4]
    retractions.retract(store, 2, who="ann", now=2.0)
    label(store, 3, DIRECTIONS[2], "none of these")
    assert near(index, store, 1) == [4, 5]


def test_new_examples_join_and_the_oldest_leave(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "MAX_EXAMPLES", 5)
    index = NeighbourIndex(store)
    assert near(index, store, 5, limit=9) == [1, 2, 3, 4]
    label(store, 6, (0.1, 0, -1, 0))
    label(store, 7, (0.2, 0, -1, 0))
    assert near(index, store, 5, limit=9) == [6, 7, 3, 4]


def test_embedding_that_a_run_makes_later_is_followed(store: Store) -> None:
    index = NeighbourIndex(store)
    request = LabelRequest("cat")
    intake.label_image(store, content(8), request, Limits(), 1.0)
    assert 6 not in near(index, store, 1, limit=9)
    with store.db.write() as conn:
        embeddings.put(conn, BACKBONE, [(6, np.array([1, 0.1, 0, 0], np.float32))])
    tiny.publish(store, tiny.plain_manifest(backbone=BACKBONE))
    assert near(index, store, 1)[0] == 6


def test_erased_example_leaves_the_memory_at_the_next_query(store: Store) -> None:
    index = NeighbourIndex(store)
    near(index, store, 1)
    eraser(store).erase_example(2, "bob")
    assert near(index, store, 1) == [3, 4, 5]
    rows = index._rows
    assert rows is not None
    assert rows.id_N[: rows.count].tolist() == [1, 3, 4, 5]


def test_other_backbone_takes_the_place_of_the_first(store: Store) -> None:
    index = NeighbourIndex(store)
    near(index, store, 1)
    with store.db.write() as conn:
        embeddings.put(conn, "c" * 64, [(5, np.ones(3, np.float32))])
    query = neighbours.Query("", np.ones(3, np.float32), 9)
    found = index.nearest(query, neighbours.unit(np.ones((1, 3), np.float32))[0], "c" * 64, 3, None)
    assert [each.example.id for each in found] == [5]
    assert near(index, store, 1) == [2, 3, 4]


@pytest.mark.parametrize("example_id", [0, -1, 99, 2**63])
def test_unknown_ids_are_refused(store: Store, example_id: int) -> None:
    with store.db.read() as conn:
        with pytest.raises(UnknownExample, match="does not exist"):
            neighbours.of_example(conn, example_id, BACKBONE)
        with pytest.raises(UnknownPrediction, match="does not exist"):
            neighbours.of_prediction(conn, "\0" * 36, BACKBONE)


def test_erased_example_is_refused(store: Store) -> None:
    eraser(store).erase_example(2, "bob")
    with store.db.read() as conn, pytest.raises(UnknownExample, match="was erased"):
        neighbours.of_example(conn, 2, BACKBONE)
