"""The cache of embeddings that a trainer has read."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import Connection

from core.labelling import embeddings
from core.labelling.labels import CurrentLabel
from core.store.store import Store
from tests.training.digits_store import digits_of, label, retrain
from training.embeddings import EmbeddingCache
from training.worker.trainer import Trainer


def row(example_id: int, image: str) -> CurrentLabel:
    return CurrentLabel(
        example_id=example_id, image=image, label="cat", is_held_out=False, group_id="g"
    )


ROWS = [row(1, "a"), row(2, "b")]
VECTORS = {1: np.ones(4, np.float16), 2: np.zeros(4, np.float16)}


def test_cache_finds_embeddings_by_image() -> None:
    cache = EmbeddingCache()
    cache.replace("backbone", ROWS, VECTORS)
    # An id may be given again once its example was erased.
    found = cache.get("backbone", [row(2, "c"), row(3, "a")])
    assert found.keys() == {3}
    assert found[3] is VECTORS[1]
    assert cache.get("another", ROWS) == {}


def test_cache_keeps_nothing_of_erased_examples() -> None:
    cache = EmbeddingCache()
    cache.replace("backbone", ROWS, VECTORS)
    cache.replace("backbone", ROWS[:1], VECTORS)
    assert cache.get("backbone", ROWS).keys() == {1}


def test_cache_does_not_share_an_array_with_what_was_erased() -> None:
    cache = EmbeddingCache()
    stored_ND = np.ones((2, 4), np.float16)
    cache.replace("backbone", ROWS, {1: stored_ND[0], 2: stored_ND[1]})
    cache.replace("backbone", ROWS[:1], cache.get("backbone", ROWS))
    assert not np.shares_memory(cache.get("backbone", ROWS)[1], stored_ND)


def test_cache_keeps_nothing_above_its_size() -> None:
    cache = EmbeddingCache(max_bytes=15)
    cache.replace("backbone", ROWS, VECTORS)
    assert cache.get("backbone", ROWS) == {}


@pytest.mark.slow
def test_next_run_reads_only_new_embeddings(
    starter_store: Store, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    get = embeddings.get

    def counted(conn: Connection, backbone: str, example_ids: list[int]) -> object:
        asked.append(len(example_ids))
        return get(conn, backbone, example_ids)

    monkeypatch.setattr(embeddings, "get", counted)
    label(starter_store, digits_of("three")[:10] + digits_of("seven")[:10])
    retrain(starter_store, trainer)
    asked.clear()
    label(starter_store, digits_of("three")[10:13])
    retrain(starter_store, trainer)
    assert max(asked) == 3
