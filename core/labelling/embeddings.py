"""Cache of embeddings: a float16 vector per example and backbone. It may be deleted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from core import erased
from core.store.schema import embeddings, examples

# Below SQLite's limit on the parameters of a statement.
_CHUNK = 500


def put(conn: Connection, backbone: str, rows: Iterable[tuple[int, NDArray[np.float32]]]) -> None:
    """Store vectors (float, shape [D]) by example id. Vectors already stored are not replaced."""
    values = [
        {
            "example_id": example_id,
            "backbone": backbone,
            "vector": vector.astype("<f2").tobytes(),
        }
        for example_id, vector in rows
    ]
    gone = select(examples.c.id).where(
        examples.c.id.in_([value["example_id"] for value in values]), ~erased.has_image()
    )
    erased_ids = set(conn.scalars(gone))  # they were erased while they were embedded
    values = [value for value in values if value["example_id"] not in erased_ids]
    if values:
        dialect = sqlite if conn.dialect.name == "sqlite" else postgresql
        conn.execute(dialect.insert(embeddings).on_conflict_do_nothing(), values)


def get(
    conn: Connection, backbone: str, example_ids: Sequence[int]
) -> dict[int, NDArray[np.float16]]:
    """Return the stored vectors by example id. Ids without one are left out.

    They are rows of one array: so many small ones would leave holes in the memory of the process.
    """
    vectors: dict[int, NDArray[np.float16]] = {}
    stored_ND = np.empty((0, 0), "<f2")
    for start in range(0, len(example_ids), _CHUNK):
        rows = conn.execute(
            select(embeddings.c.example_id, embeddings.c.vector).where(
                embeddings.c.backbone == backbone,
                embeddings.c.example_id.in_(example_ids[start : start + _CHUNK]),
            )
        )
        for example_id, content in rows:
            vector_D = np.frombuffer(content, "<f2")
            if not vectors:
                stored_ND = np.empty((len(example_ids), len(vector_D)), "<f2")
            at = len(vectors)
            stored_ND[at] = vector_D
            vectors[example_id] = stored_ND[at]
    return vectors
