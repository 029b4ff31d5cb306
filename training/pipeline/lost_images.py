"""Examples of a run whose images are lost, and whose embeddings were stored before that."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from core.labelling import lost_images
from core.labelling.labels import CurrentLabel
from core.store import lost_blobs
from core.store.store import Store
from core.system.background import call_back


def find_embedded_only(store: Store, rows: Sequence[CurrentLabel]) -> tuple[int, ...]:
    """Return the ids of those rows whose images are lost. Images that are back are not any more.

    Only images that were found lost before are read: a run with stored embeddings reads no others.
    """
    with store.db.read() as conn:
        lost = lost_blobs.read(conn).keys()
    suspects = [row for row in rows if row.image in lost]
    back = lost_images.returned(store, [row.image for row in suspects])
    call_back(partial(lost_images.mark_found, store, back))
    return tuple(row.example_id for row in suspects if row.image not in back)
