"""What is known of images that an import brings: their labels, and those that imports gave them."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from core.class_names import is_same
from core.exchange.reading.items import Kind
from core.store.schema import examples, labels
from core.store.tables.review import label_batches
from core.store.tables.tallies import current_labels

# Who gave the labels of imports by the command line.
WHO = "import"


class Known(NamedTuple):
    current: str | None = None
    # By the newest import. It may have been corrected since.
    imported: str | None = None


def known_labels(conn: Connection, images: Collection[str]) -> dict[str, Known]:
    """Of the images that are examples, by digest. `images` are few: they go into a statement."""
    rows = conn.execute(
        select(examples.c.id, examples.c.image, current_labels.c.label)
        .outerjoin(current_labels, current_labels.c.example_id == examples.c.id)
        .where(examples.c.image.in_(images))
    ).all()
    # What was undone with its batch may be imported again, unless a person has labelled it since.
    counts = label_batches.c.undone_at.is_(None) | (labels.c.id < current_labels.c.event_id)
    newest = (
        select(func.max(labels.c.id))
        .outerjoin(label_batches, label_batches.c.id == labels.c.batch_id)
        .outerjoin(current_labels, current_labels.c.example_id == labels.c.example_id)
        .where(
            labels.c.example_id.in_([row.id for row in rows]),
            labels.c.label.is_not(None),
            (labels.c.who == WHO) | (label_batches.c.kind == "import"),
            counts,
        )
        .group_by(labels.c.example_id)
    )
    query = select(labels.c.example_id, labels.c.label).where(labels.c.id.in_(newest))
    imported = {row.example_id: row.label for row in conn.execute(query)} if rows else {}
    return {row.image: Known(row.label, imported.get(row.id)) for row in rows}


def decide(label: str, known: Known) -> Kind:
    """What becomes of an image that an import labels so.

    A correction made after an import stays, until the import says something else than it did.
    """
    if known.current is not None and is_same(label, known.current):
        return "already"
    if known.imported is not None and is_same(label, known.imported):
        return "kept corrections"
    return "added" if known.current is None else "relabelled"
