from __future__ import annotations

import numpy as np
import pytest

from core.inputs.kind import Limits
from core.inputs.pixels.kind import PIXELS
from core.labelling import embeddings, examples, intake
from core.store.store import Store
from tests.support import images


@pytest.fixture
def ids(store: Store) -> list[int]:
    found = []
    for seed in range(3):
        new = intake.prepare(images.png(24, 24, seed), Limits(), "test", PIXELS)
        with store.db.write() as conn:
            found.append(examples.add(conn, new, "cat", now=0.0).id)
    return found


def vector(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, 16).astype(np.float32)


def test_vectors_are_stored_in_half_precision(store: Store, ids: list[int]) -> None:
    with store.db.write() as conn:
        embeddings.put(conn, "b", [(example, vector(example)) for example in ids])
        found = embeddings.get(conn, "b", ids)
    assert found.keys() == set(ids)
    for example in ids:
        np.testing.assert_array_equal(found[example], vector(example).astype(np.float16))


def test_missing_vectors_are_left_out(store: Store, ids: list[int]) -> None:
    with store.db.write() as conn:
        embeddings.put(conn, "b", [(ids[0], vector(0))])
        assert embeddings.get(conn, "b", ids).keys() == {ids[0]}
        assert embeddings.get(conn, "another", ids) == {}
        assert embeddings.get(conn, "b", []) == {}


def test_stored_vector_is_not_replaced(store: Store, ids: list[int]) -> None:
    with store.db.write() as conn:
        embeddings.put(conn, "b", [(ids[0], vector(0))])
        embeddings.put(conn, "b", [(ids[0], vector(1)), (ids[1], vector(1))])
        embeddings.put(conn, "b", [])
        found = embeddings.get(conn, "b", ids)
    np.testing.assert_array_equal(found[ids[0]], vector(0).astype(np.float16))
    assert found.keys() == set(ids[:2])


def test_ids_are_read_in_chunks(store: Store, ids: list[int]) -> None:
    with store.db.write() as conn:
        embeddings.put(conn, "b", [(ids[2], vector(2))])
        # More ids than SQLite allows as parameters of one statement. The stored one is last.
        asked = [*range(10_000, 50_000), ids[2]]
        assert embeddings.get(conn, "b", asked).keys() == {ids[2]}
