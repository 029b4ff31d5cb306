"""Captured images: everything that people have sent, labelled or not, each once."""

from __future__ import annotations

from sqlalchemy import Connection, select, union

from core.store.schema import examples, predictions


def digests(conn: Connection) -> list[str]:
    """Give the blobs' names, in the same order whenever the same images are there."""
    sent = union(select(examples.c.image), select(predictions.c.image))
    return sorted(conn.execute(sent).scalars())
